package upload

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

var _ recorder.Rescuer = (*Spool)(nil)

// completionTries bounds how often a storage is asked to complete a lost worker's upload:
// whoever takes the job over wants to record on.
const completionTries = 4

// Rescue implements recorder.Rescuer. The storage itself is the fence: an upload can
// be completed once. If the lost worker is faster, its object is what is found.
func (s *Spool) Rescue(ctx context.Context, job recorder.Job, rec recorder.Recording, notes map[string]string) (recorder.Recording, []string) {
	rec = rec.Clone()
	lost := rec.Clone() // which nobody changes: manifests name what was before, while that is rescued
	var files sync.WaitGroup
	for p := range rec.Earlier {
		e := &rec.Earlier[p]
		of := rec
		of.Part, of.Worker, of.Files = e.Part, e.Worker, e.Files
		of.StartedAt, of.EndedAt, of.EndReason = e.StartedAt, e.EndedAt, e.EndReason
		of.Earlier = lost.Earlier[:p]
		s.rescueFiles(ctx, &files, job, of, notes)
	}
	last := rec
	last.Earlier = lost.Earlier
	s.rescueFiles(ctx, &files, job, last, notes)
	files.Wait()
	return s.rescueSeries(ctx, job, rec)
}

// rescueFiles rescues the files of one part of a recording, in place.
func (s *Spool) rescueFiles(ctx context.Context, work *sync.WaitGroup, job recorder.Job, rec recorder.Recording, notes map[string]string) {
	for i := range rec.Files {
		switch rec.Files[i].State {
		case recorder.FileDelivered, recorder.FileRefused, recorder.FileEmpty:
			continue
		default:
		}
		w := &wreck{spool: s, job: job, rec: rec, i: i, file: &rec.Files[i], scrub: s.scrubber(job), parts: map[int]partNote{}}
		w.read(notes)
		work.Go(func() { w.rescue(ctx) })
	}
}

// wreck is a file whose worker is gone.
type wreck struct {
	spool *Spool
	job   recorder.Job
	rec   recorder.Recording
	i     int
	file  *recorder.FileResult
	scrub recorder.Scrubber
	note  fileNote
	parts map[int]partNote // as noted
}

// read takes what was noted of the file's last upload.
func (w *wreck) read(notes map[string]string) {
	name := fmt.Sprintf("%d/file-%d", max(w.rec.Part, 1), w.i)
	if json.Unmarshal([]byte(notes[name]), &w.note) != nil {
		w.note = fileNote{}
	}
	mark := uploadMark(w.note.UploadID)
	for of, text := range notes {
		number, ofPart := strings.CutPrefix(of, name+".")
		n, err := strconv.Atoi(number)
		var p partNote
		if ofPart && err == nil && json.Unmarshal([]byte(text), &p) == nil && p.Upload == mark {
			w.parts[n] = p
		}
	}
}

// rescue completes the upload, or says where the file is.
func (w *wreck) rescue(ctx context.Context) {
	pause := w.spool.opts.backoff()
	for try := 1; ; try++ {
		err := w.try(ctx)
		if err == nil {
			return
		}
		w.file.State = recorder.FilePending
		w.file.Error = joinNotes(fmt.Sprintf("the file is in the spool of worker %s", cmp.Or(w.rec.Worker, "that is lost")), w.scrub.Text(err.Error()))
		w.spool.opts.Log.Warn("the upload of a lost worker is not completed", zap.String("job", w.job.ID), zap.String("file", w.file.Filename), zap.String("error", w.file.Error))
		if classOf(err) == final || try >= completionTries || ctx.Err() != nil {
			return
		}
		sleep(ctx, pause.NextBackOff())
	}
}

func (w *wreck) try(ctx context.Context) error {
	if w.note.UploadID == "" {
		return faultf(final, "nothing of it had been uploaded")
	}
	task := recorder.Task{Job: w.job, Recording: w.rec}
	var out recorder.FileOutput
	if w.i < len(w.job.Files) {
		out = w.job.Files[w.i]
	}
	where := w.spool.route(task, out.Storage, out.UploadURL).where(w.note.Backup)
	if where.S3 == nil {
		return faultf(final, "this worker does not know its storage")
	}
	st, err := newS3Store(ctx, w.spool.opts, *where.S3)
	if err != nil {
		return err
	}
	if st.target() != w.note.Target {
		return faultf(final, "this worker has another storage")
	}
	salvaged, err := w.salvage(ctx, st, where.Overwrite)
	if err != nil {
		return err
	}
	w.delivered(st, salvaged)
	w.manifest(ctx, st, salvaged.found)
	return nil
}

// salvaged is the object that a rescue found or made.
type salvaged struct {
	size  int64
	whole bool // nothing is missing
	found bool // by another worker, which may have told more of it
	media time.Duration
}

// salvage completes the upload from what the storage lists, or where it may not be
// asked from what was noted.
func (w *wreck) salvage(ctx context.Context, st *s3Store, overwrite bool) (salvaged, error) {
	there, err := st.listed(ctx, w.note.Key, w.note.UploadID)
	switch {
	case codeOf(err) == noSuchUpload:
		return w.found(ctx, st)
	case errors.Is(err, errUnlisted):
		there = map[int]listedPart{}
		for n, p := range w.parts {
			there[n] = listedPart{p.ETag, p.Size}
		}
	case err != nil:
		return salvaged{}, err
	}
	asked := time.Now()
	got, etags, err := w.complete(ctx, st, there, overwrite, err == nil)
	switch {
	case codeOf(err) == noSuchUpload:
		return w.found(ctx, st)
	case errors.Is(err, errTaken):
		if head, err := st.headOf(ctx, w.note.Key); err == nil && head.is(got.size, compositeETag(etags), asked) {
			return got, nil // by ourselves: SDKs repeat a request whose answer was lost
		}
		return salvaged{}, &fault{class: final, text: err.Error(), remedy: "what was uploaded waits there as an upload in parts that nobody completed"}
	case err != nil:
		return salvaged{}, err
	}
	// Some servers say yes again to whoever comes later, of what others had completed.
	if head, err := st.headOf(ctx, w.note.Key); err == nil && head.there && head.size != got.size {
		return w.found(ctx, st)
	}
	return got, nil
}

// complete makes an object of the parts that are there. Where they were not listed, the header's,
// or a short one of a file that was growing, may have been sent once more than was noted.
func (w *wreck) complete(ctx context.Context, st *s3Store, there map[int]listedPart, overwrite, listed bool) (got salvaged, etags []string, err error) {
	if got, etags = w.prefix(there); len(etags) == 0 {
		return got, nil, faultf(final, "nothing of it had been uploaded")
	}
	try := func() {
		_, err = st.completeOf(ctx, w.note.Key, w.note.UploadID, etags, overwrite, true)
	}
	try()
	if f := w.note.Final; codeOf(err) == "InvalidPart" && f != nil && !strings.EqualFold(etags[0], f.Head) {
		etags[0] = f.Head
		got.whole = len(etags) == f.Parts
		try()
	}
	if n := len(etags); codeOf(err) == "InvalidPart" && !listed && w.note.Final == nil && n > 1 && there[n].size < w.full(n) {
		delete(there, n)
		got, etags = w.prefix(there)
		try()
	}
	return got, etags, err
}

// full is the size of a part that is not the last.
func (w *wreck) full(n int) int64 {
	_, size := partSpan(w.note.PartSize, n)
	return size
}

// prefix gives the parts up to the first that is missing, or short. The header's part is sent
// last: if it is another than was noted, or what was announced, none is missing. (One that was
// noted while it was short has only been filled since.)
func (w *wreck) prefix(there map[int]listedPart) (got salvaged, etags []string) {
	for n := 1; ; n++ {
		p, ok := there[n]
		if !ok || p.size > w.full(n) {
			break
		}
		etags = append(etags, p.etag)
		got.size += p.size
		got.media = max(got.media, time.Duration(w.parts[n].Media))
		if p.size < w.full(n) {
			break // the file ends here
		}
	}
	if len(etags) == 0 {
		return got, nil
	}
	noted, known := w.parts[1]
	got.whole = known && noted.Size == w.full(1) && noted.ETag != etags[0]
	if f := w.note.Final; f != nil {
		got.whole = got.whole || (len(etags) == f.Parts && got.size == f.Size && strings.EqualFold(etags[0], f.Head))
	}
	return got, etags
}

// found looks at the object that the lost worker, or an earlier rescue, completed.
func (w *wreck) found(ctx context.Context, st *s3Store) (salvaged, error) {
	head, err := st.headOf(ctx, w.note.Key)
	if err != nil {
		return salvaged{}, err
	}
	const skew = 5 * time.Minute
	if !head.there || head.modified.Before(time.Unix(0, w.note.StartedAt).Add(-skew)) {
		return salvaged{}, faultf(final, "its upload was removed from the storage")
	}
	marked, rescued := head.mark != "" && head.mark == w.note.Mark, w.couldBe(head.size)
	if !marked && (head.mark != "" || !rescued) {
		return salvaged{}, faultf(final, "its upload was removed from the storage, and what has the name is another's")
	}
	got := salvaged{size: head.size, found: true}
	if f := w.note.Final; f != nil && f.Size == head.size {
		got.whole = strings.EqualFold(f.ETag, head.etag) || !isMD5(strings.SplitN(head.etag, "-", 2)[0])
	} else if marked && !rescued { // by its own worker, or an earlier rescue: who completed it was not heard any more
		got.whole = st.holdsFinalised(ctx, w.note.Key, head.size)
	}
	for n, below := 1, int64(0); w.parts[n].Size > 0; n++ {
		if below += w.parts[n].Size; below > head.size {
			break
		}
		got.media = max(got.media, time.Duration(w.parts[n].Media))
	}
	return got, nil
}

// couldBe reports whether the upload can have become an object of that size: what was
// announced, or the first of its parts.
func (w *wreck) couldBe(size int64) bool {
	if f := w.note.Final; f != nil && f.Size == size {
		return true
	}
	if w.note.PartSize > 0 && size > 0 {
		if at, full := partSpan(w.note.PartSize, partCount(w.note.PartSize, size)); at+full == size {
			return true
		}
	}
	for n, sum := 1, int64(0); w.parts[n].Size > 0 && sum < size; n++ {
		if sum += w.parts[n].Size; sum == size {
			return true
		}
	}
	return false
}

// delivered fills the result.
func (w *wreck) delivered(st *s3Store, got salvaged) {
	f := w.file
	length := int64(got.media)
	switch {
	case got.whole:
		length = max(length, f.Duration)
	case length == 0 && f.Size > got.size: // nobody noted it: as much of the time as of the bytes
		length = int64(float64(f.Duration) * float64(got.size) / float64(f.Size))
	case length == 0:
		length = f.Duration
	}
	missing := time.Duration(f.Duration - length).Round(time.Second)
	*f = w.rec.Measured(*f, time.Duration(length))
	f.State, f.Size, f.Partial = recorder.FileDelivered, got.size, !got.whole
	f.Location, f.Filename, f.Backup, f.SHA256, f.Error = st.location(w.note.Key), w.note.Filename, w.note.Backup, "", ""
	if f.Partial {
		f.Error = fmt.Sprintf("completed for worker %s, which was lost", cmp.Or(w.rec.Worker, "(unknown)"))
		if missing > 0 {
			f.Error += fmt.Sprintf("; the last %s are in its spool", missing)
		}
	}
	w.spool.opts.Log.Info("the upload of a lost worker is completed", zap.String("job", w.job.ID), zap.String("file", f.Filename),
		zap.Int64("size", f.Size), zap.Bool("partial", f.Partial))
}

// manifest stores <file>.json beside the file: libraries find it by that. keep leaves one that is there.
func (w *wreck) manifest(ctx context.Context, st *s3Store, keep bool) {
	if w.i < len(w.job.Files) && w.job.Files[w.i].DisableManifest {
		return
	}
	dir, err := os.MkdirTemp(w.spool.dir, newPrefix)
	if err == nil {
		defer os.RemoveAll(dir) //nolint:errcheck // swept later
		m := manifestOf(w.rec, w.file.StartedAt, w.file.EndedAt)
		m.Files = []ManifestFile{manifestFile(*w.file)}
		e, name := &entry{spool: w.spool, task: recorder.Task{Dir: dir}}, w.note.Key+".json"
		w.file.ManifestLocation, err = e.sendManifest(ctx, st, fmt.Sprint(w.i), name, m, !keep)
		if keep && errors.Is(err, errTaken) {
			w.file.ManifestLocation, err = st.location(name), nil
		}
	}
	if err != nil {
		w.file.Error = joinNotes(w.file.Error, w.scrub.Text(err.Error()))
	}
}
