package upload

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// rescueSeries says what the storages have of the series of a lost part. Where the job
// goes on, it gives the playlists to go on in, and marks them: the lost worker must not
// end them when it comes back. Where the job is concluded (rec.EndReason), nobody
// goes on in them, and they get their end.
func (s *Spool) rescueSeries(ctx context.Context, job recorder.Job, rec recorder.Recording) (recorder.Recording, []string) {
	rec = rec.Clone()
	for p := range rec.Earlier {
		e := &rec.Earlier[p]
		of := rec
		of.Part, of.Worker, of.Segments, of.Images, of.Earlier = e.Part, e.Worker, e.Segments, e.Images, rec.Earlier[:p]
		of.EndReason = cmp.Or(e.EndReason, recorder.EndWorkerLost) // nobody goes on in one that is not Continued
		s.rescuePlaylists(ctx, job, of, true)
	}
	return rec, s.rescuePlaylists(ctx, job, rec, false)
}

// rescuePlaylists is rescueSeries for one part, in place. followed says that there is a later one,
// which sees to the playlists that it continues; the last part's may have been meant
// for one that never began.
func (s *Spool) rescuePlaylists(ctx context.Context, job recorder.Job, rec recorder.Recording, followed bool) []string {
	texts := make([]string, len(rec.Segments))
	for i := range rec.Segments {
		r := &rec.Segments[i]
		if isOver(r.State) || i >= len(job.Segments) {
			continue
		}
		l := &lost{spool: s, task: recorder.Task{Job: job, Recording: rec}, i: i, result: r, handed: followed && r.Continued}
		text, err := l.rescue(ctx)
		if err != nil {
			r.State, r.Error = recorder.FilePending, s.scrubber(job).Text(err.Error())
			s.opts.Log.Warn("a lost worker's playlist is left as it is", zap.String("job", job.ID), zap.String("playlist", r.PlaylistName), zap.String("error", r.Error))
		}
		texts[i] = text
	}
	for i := range rec.Images {
		if r := &rec.Images[i]; !isOver(r.State) {
			r.State, r.Error = recorder.FilePending, fmt.Sprintf("pictures that were not uploaded yet are in the spool of worker %s", rec.Worker)
		}
	}
	return texts
}

func isOver(state recorder.FileState) bool {
	return state == recorder.FileDelivered || state == recorder.FileRefused || state == recorder.FileEmpty
}

// lost is an HLS stream whose worker is gone.
type lost struct {
	spool  *Spool
	task   recorder.Task
	i      int
	result *recorder.SegmentsResult
	handed bool // a later part sees to the playlists
	where  Storage
	store  store
}

// rescue continues or ends the playlist, and accounts for what it lists.
func (l *lost) rescue(ctx context.Context) (text string, err error) {
	r := l.result
	if stood, found := stands(l.task.Recording.Earlier, l.i); found && r.PlaylistLocation == "" {
		r.PlaylistName, r.PlaylistLocation, r.Backup = stood.PlaylistName, stood.PlaylistLocation, stood.Backup
		r.LivePlaylistName, r.LivePlaylistLocation = stood.LivePlaylistName, stood.LivePlaylistLocation
	}
	if r.PlaylistLocation == "" {
		return "", faultf(final, "no playlist had been uploaded; what there is waits in the spool of worker %s", l.task.Recording.Worker)
	}
	way := l.spool.route(l.task, l.task.Job.Segments[l.i].Storage, "")
	l.where = way.where(r.Backup)
	if l.store, err = way.open(ctx, l.spool.opts, r.Backup); err != nil {
		return "", err
	}
	list, err := l.read(ctx, r.PlaylistName)
	if err != nil {
		return "", err
	}
	list.Ended = false
	note := "the end was not uploaded: it is in the spool of worker " + l.task.Recording.Worker
	switch {
	case l.handed:
	case l.task.Recording.EndReason != "":
		err = l.end(ctx, list)
	default:
		text = list.Text()
		err = l.put(ctx, r.PlaylistName, mark(list, l.task.Recording.Part+1))
		note = "another worker goes on in the playlist; " + note
	}
	if err != nil {
		return "", err
	}
	l.account(list, note)
	return text, nil
}

// account counts what the storage has of the part: the playlist lists earlier ones too.
func (l *lost) account(list recorder.MediaPlaylist, note string) {
	prefix := path.Base(l.task.Recording.SegmentsOf(l.task.Job, l.i).FilenamePrefix) + "_"
	own := slices.DeleteFunc(slices.Clone(list.Entries), func(e recorder.PlaylistEntry) bool {
		return !strings.HasPrefix(path.Base(e.Name), prefix)
	})
	r := l.result
	r.State, r.Error = recorder.FileDelivered, note
	r.SegmentCount, r.Duration = int64(len(own)), int64(recorder.MediaPlaylist{Entries: own}.Length())
	if len(own) == 0 {
		r.State, r.Error = recorder.FilePending, "nothing of it was uploaded: what there is waits in the spool of worker "+l.task.Recording.Worker
		return
	}
	last := own[len(own)-1]
	r.EndedAt = last.At.Add(last.Length).UnixNano()
}

func (l *lost) read(ctx context.Context, name string) (list recorder.MediaPlaylist, err error) {
	key, err := l.where.name(name)
	if err != nil {
		return list, err
	}
	text := ""
	err = l.spool.insist(ctx, func() (err error) {
		text, err = readPlaylist(ctx, l.store, key)
		return err
	})
	if err != nil {
		return list, err
	}
	if list, err = recorder.ReadPlaylist(text); err != nil {
		return list, faultf(final, "%s: %s", name, err)
	}
	if len(list.Entries) == 0 {
		return list, faultf(final, "%s: lists nothing", name)
	}
	return list, nil
}

// end tells players that nothing more comes.
func (l *lost) end(ctx context.Context, list recorder.MediaPlaylist) error {
	list.Ended = true
	if err := l.put(ctx, l.result.PlaylistName, list.Text()); err != nil {
		return err
	}
	if l.result.LivePlaylistLocation == "" {
		return nil
	}
	return l.put(ctx, l.result.LivePlaylistName, list.Latest().Text())
}

// put replaces a playlist.
func (l *lost) put(ctx context.Context, name, text string) error {
	key, err := l.where.name(name)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(l.spool.dir, newPrefix)
	if err != nil {
		return diskFault(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // swept later
	file := filepath.Join(dir, "playlist")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return diskFault(err)
	}
	sums, err := measure(ctx, file, l.store.plan(int64(len(text))))
	if err != nil {
		return diskFault(err)
	}
	return l.spool.insist(ctx, func() error {
		_, err := l.store.put(ctx, &object{
			path: file, name: key, contentType: contentType(name), overwrite: true, exact: true,
			id: filepath.Base(dir), digest: sums, journal: &journal{},
		})
		return err
	})
}

// rescueTries bounds how often each request of a rescue is tried: the next part waits.
const rescueTries = 3

// insist tries a few times, unless it is refused.
func (s *Spool) insist(ctx context.Context, do func() error) error {
	pause := s.opts.backoff()
	for try := 1; ; try++ {
		err := do()
		if err == nil || try >= rescueTries || ctx.Err() != nil || classOf(err) == denied || classOf(err) == final {
			return err
		}
		sleep(ctx, pause.NextBackOff())
	}
}
