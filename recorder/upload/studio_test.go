package upload_test

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// studio writes a series as the pipeline does: what is open ends in .part and is
// renamed when it is closed; a playlist is replaced as a whole.
type studio struct {
	t      *testing.T
	dir    string // of the series in the spool
	prefix string
	list   recorder.MediaPlaylist
	names  []string
}

const (
	mainList = "talk/all.m3u8"
	liveList = "talk/live.m3u8"
)

// hlsJob records one HLS stream into s.
func hlsJob(id string, s recorder.Storage) recorder.Job {
	return recorder.Job{ID: id, Segments: []recorder.SegmentOutput{{
		FilenamePrefix: "talk/seg", PlaylistName: mainList, LivePlaylistName: liveList, Storage: s,
	}}}
}

func (d *deck) hls(job recorder.Job) (recorder.SpoolEntry, *studio) {
	d.t.Helper()
	task := task(job)
	task.Recording.Segments = []recorder.SegmentsResult{{
		PlaylistName: mainList, LivePlaylistName: liveList, Series: recorder.Series{State: recorder.FileRecording},
	}}
	e, err := d.Create(task)
	require.NoError(d.t, err)
	return e, studioIn(d.t, filepath.Join(e.Task().Dir, recorder.SegmentsDir(0)))
}

func studioIn(t *testing.T, dir string) *studio {
	return &studio{t: t, dir: dir, prefix: "talk/seg", list: recorder.MediaPlaylist{Event: true, Target: 4}}
}

// segment closes one more segment and names it in both playlists.
func (s *studio) segment(size int) {
	s.t.Helper()
	s.closed(size)
	s.playlists()
}

// closed closes one more segment, which no playlist names yet.
func (s *studio) closed(size int) {
	s.t.Helper()
	n := len(s.list.Entries)
	name := fmt.Sprintf("%s_%05d.ts", s.prefix, n)
	s.write(name, noise(uint64(n+1), size))
	cut := n > 0 && len(s.names) == 0
	s.names = append(s.names, name)
	s.list.Entries = append(s.list.Entries, recorder.PlaylistEntry{
		Name: path.Base(name), Length: 4 * time.Second, At: time.Unix(1_700_000_000+int64(4*n), 0).UTC(), Cut: cut,
	})
}

// end closes the playlists.
func (s *studio) end() {
	s.list.Ended = true
	s.playlists()
}

func (s *studio) playlists() {
	s.write(mainList, []byte(s.list.Text()))
	s.write(liveList, []byte(s.list.Latest().Text()))
}

func (s *studio) write(name string, data []byte) {
	s.t.Helper()
	to := filepath.Join(s.dir, filepath.FromSlash(name))
	require.NoError(s.t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(s.t, os.WriteFile(to+recorder.PartSuffix, data, 0o644))
	require.NoError(s.t, os.Rename(to+recorder.PartSuffix, to))
}

// follow follows an entry until the given function is called, which waits.
func follow(t *testing.T, e recorder.SpoolEntry) (stop func()) {
	t.Helper()
	return followTo(t, e, func(recorder.Recording) {})
}

func followTo(t *testing.T, e recorder.SpoolEntry, report func(recorder.Recording)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	follower, ok := e.(recorder.Follower)
	require.True(t, ok)
	go func() {
		defer close(done)
		follower.Follow(ctx, e.Task().Recording, nil, report)
	}()
	return func() {
		cancel()
		<-done
	}
}

// eventually waits for what other processes do. How long at most only a failing test
// finds out: on a busy machine a disk may take many seconds to sync a file.
func eventually(t *testing.T, what func() bool) {
	t.Helper()
	deadline, look := time.After(time.Minute), time.NewTicker(5*time.Millisecond)
	defer look.Stop()
	for !what() { // here, for what fails in another goroutine does not end the test
		select {
		case <-look.C:
		case <-deadline:
			require.FailNow(t, "waited for in vain")
		}
	}
}

// viewer reads a playlist over and over, and for every version it sees demands
// what that names: below the server, or it would keep a processor from what it watches.
type viewer struct {
	mu       sync.Mutex
	versions []string // oldest first
	quit     chan struct{}
	done     chan struct{}
	stopped  sync.Once
}

func view(t *testing.T, s *recordertest.S3, key string) *viewer {
	t.Helper()
	v := &viewer{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(v.done)
		last := ""
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for {
			if text, _ := os.ReadFile(s.Path(key)); string(text) != last {
				last = string(text)
				for _, n := range listed(last) {
					if _, err := os.Stat(s.Path(path.Join(path.Dir(key), n))); err != nil {
						t.Errorf("%s names %s, which is not there", key, n)
					}
				}
				v.mu.Lock()
				v.versions = append(v.versions, last)
				v.mu.Unlock()
			}
			select {
			case <-v.quit:
				return
			case <-look.C:
			}
		}
	}()
	t.Cleanup(func() { v.stop() }) // before the server is
	return v
}

// seen reports whether it saw a version that names so many files.
func (v *viewer) seen(files int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.versions) > 0 && len(listed(v.versions[len(v.versions)-1])) == files
}

// stop ends it and gives what it saw.
func (v *viewer) stop() []string {
	v.stopped.Do(func() { close(v.quit) })
	<-v.done
	return v.versions
}

// listed gives what a playlist names.
func listed(text string) []string {
	var names []string
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			names = append(names, line)
		}
	}
	return names
}

func requireSeries(t *testing.T, r recorder.Series) {
	t.Helper()
	require.Equal(t, recorder.FileDelivered, r.State, r.Error)
}

func s3Storage(u *recorder.S3Upload) recorder.Storage { return recorder.Storage{S3: u} }

func directory(t *testing.T) (string, upload.Options) {
	dir := t.TempDir()
	return dir, upload.Options{Default: upload.Storage{Directory: dir}}
}
