package upload_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// film is a hybrid MP4 as the pipeline's muxer finalised it, with what is needed to
// write it again as that does.
type film struct {
	final []byte
	moov  int   // where the first moov lies
	ends  []int // of the fragments: of the first moov, and of each moof
}

const (
	filmMuxer   = "mp4mux name=mux fragment-duration=1000 fragment-mode=first-moov-then-finalise"
	filmSeconds = 24
)

// shot gives the film of these tests, made once: 24 s of 10 Mbit/s, five parts and a bit.
func shot(t *testing.T) film {
	t.Helper()
	data, err := develop()
	require.NoError(t, err)
	f := film{final: data}
	f.moov = bytes.Index(data, []byte("hoov\x00\x00\x00lmvhd")) - 4
	require.Positive(t, f.moov, "the muxer renames the first moov")
	at := f.moov
	for at+8 <= len(data) {
		size, kind := int(binary.BigEndian.Uint32(data[at:])), string(data[at+4:at+8])
		if size == 0 {
			break // the last media, whose moof was never written
		}
		at += size
		if kind == "hoov" || kind == "moof" {
			f.ends = append(f.ends, at)
		}
	}
	require.GreaterOrEqual(t, len(f.ends), filmSeconds-1)
	return f
}

var develop = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "film")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a test's
	clip, path := filepath.Join(dir, "clip.mp4"), filepath.Join(dir, "film.mp4")
	if err := filmClip(clip, "10M"); err != nil {
		return nil, err
	}
	script := fmt.Sprintf("ffmpeg -nostdin -v error -stream_loop -1 -i %s -t %d -c copy -f matroska - | %s", clip, filmSeconds, filmRecorder(path))
	if out, err := exec.Command("bash", "-o", "pipefail", "-c", script).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(path)
})

// filmClip encodes some seconds of a constant bitrate, which can be repeated.
func filmClip(path, rate string) error {
	out, err := exec.Command("ffmpeg", strings.Fields("-nostdin -v error -y -f lavfi -i testsrc2=size=640x360:rate=30 -t 4 -c:v libx264 -preset ultrafast "+
		"-tune zerolatency -g 30 -pix_fmt yuv420p -b:v "+rate+" -minrate "+rate+" -maxrate "+rate+" -bufsize "+rate+" -x264-params nal-hrd=cbr "+path)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// filmRecorder is the command that writes what comes to its input as the pipeline
// writes files.
func filmRecorder(path string) string {
	return "gst-launch-1.0 -q fdsrc fd=0 ! matroskademux ! h264parse ! " + filmMuxer + " ! filesink location=" + path + " buffer-mode=unbuffered sync=false async=false"
}

// camera writes a film into a spool.
type camera struct {
	t       *testing.T
	film    film
	path    string
	written int
	patches []patch // what is other than in the finalised file, in the order of its place
}

// patch is what lies in a file for a while.
type patch struct {
	at   int
	data []byte
}

func (f film) camera(t *testing.T, e recorder.SpoolEntry) *camera {
	return &camera{t: t, film: f, path: filepath.Join(e.Task().Dir, recorder.MediaName(0, e.Task().Recording.Files[0]))}
}

// roll goes on until so many fragments are closed, and half of the next one written.
func (c *camera) roll(fragments int) {
	c.t.Helper()
	f := c.film
	end := f.ends[fragments-1]
	open := end + 16
	if fragments < len(f.ends) {
		open = (end + f.ends[fragments]) / 2
	}
	head := binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x08free"), uint32(f.moov-40))
	c.write(open,
		patch{32, append(head, "mdat"...)}, patch{f.moov + 4, []byte("moov")},
		patch{end + 8, make([]byte, 4)}, // free, and then media without a size
	)
}

// cut finalises the file.
func (c *camera) cut() { c.write(len(c.film.final)) }

// write adds what is new, and then takes back what is there no more.
func (c *camera) write(until int, patches ...patch) {
	c.t.Helper()
	file, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(c.t, err)
	defer file.Close()
	added := bytes.Clone(c.film.final[c.written:until])
	for _, p := range patches {
		if p.at >= c.written {
			copy(added[p.at-c.written:], p.data)
		}
	}
	_, err = file.WriteAt(added, int64(c.written))
	require.NoError(c.t, err)
	for _, old := range c.patches {
		if slices.ContainsFunc(patches, func(p patch) bool { return p.at == old.at }) {
			continue
		}
		_, err := file.WriteAt(c.film.final[old.at:old.at+len(old.data)], int64(old.at))
		require.NoError(c.t, err)
	}
	c.written, c.patches = until, patches
}

// spoil changes a byte that was written long ago, in the film as well.
func (c *camera) spoil(at int) {
	c.t.Helper()
	c.film.final = bytes.Clone(c.film.final)
	c.film.final[at] ^= 0xff
	file, err := os.OpenFile(c.path, os.O_WRONLY, 0)
	require.NoError(c.t, err)
	defer file.Close()
	_, err = file.WriteAt(c.film.final[at:at+1], int64(at))
	require.NoError(c.t, err)
}

// seconds gives how much of an object decodes, without complaints of the decoder.
func seconds(t *testing.T, data []byte) float64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.mp4")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	frames := recordertest.Tool(t, "ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path)
	n := 0
	_, err := fmt.Sscan(frames, &n)
	require.NoError(t, err, frames)
	return float64(n) / 30
}
