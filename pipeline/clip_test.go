package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/go-gst/go-gst/gst"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// greys is a clip whose pictures have a brightness of their own on either side.
func greys(codec string, width, height, frames int) recorder.PictureClip {
	return recorder.PictureClip{
		Codec: codec, Width: width, Height: height, Framerate: 30, Frames: frames, KeyEvery: 15, Bitrate: max(300, width*height/400),
		Draw: func(n int, i420 []byte) {
			left, right := greyOf(n)
			for i := range i420[:width*height] {
				i420[i] = left
				if i%width >= width/2 {
					i420[i] = right
				}
			}
			for i := width * height; i < len(i420); i++ {
				i420[i] = 128
			}
		},
	}
}

func greyOf(n int) (left, right byte) { return byte(30 + n*7%180), byte(30 + n*29%180) }

func TestClipsOfPicturesDecodeToWhatWasDrawn(t *testing.T) {
	t.Parallel()
	// Sizes whose rows GStreamer pads, and such whose it does not; upright too.
	for _, size := range [][2]int{{320, 180}, {426, 240}, {90, 160}, {1280, 720}} {
		for _, codec := range []string{recorder.ClipVP8, recorder.ClipH264} {
			width, height := size[0], size[1]
			clip := greys(codec, width, height, 20)
			began := time.Now()
			samples, err := ClipEncoder{}.EncodePictures(t.Context(), clip)
			require.NoError(t, err)
			t.Logf("%s %dx%d: %d pictures in %s", codec, width, height, clip.Frames, time.Since(began))
			require.Len(t, samples, clip.Frames)
			assert.True(t, samples[0].Key)
			luma := decodeClip(t, clip, samples)
			require.Len(t, luma, clip.Frames*width*height)
			for n := range clip.Frames {
				picture := luma[n*width*height:]
				left, right := greyOf(n)
				for _, row := range []int{0, height / 2, height - 1} {
					require.InDelta(t, left, picture[row*width+width/4], 12, "%s %dx%d picture %d row %d", codec, width, height, n, row)
					require.InDelta(t, right, picture[row*width+width*3/4], 12, "%s %dx%d picture %d row %d", codec, width, height, n, row)
				}
			}
			// Whoever comes later can begin at any key frame.
			for n, s := range samples {
				if n > 0 && s.Key {
					rest := decodeClip(t, clip, samples[n:])
					require.Len(t, rest, (clip.Frames-n)*width*height)
					left, _ := greyOf(n)
					require.InDelta(t, left, rest[width/4], 12)
					break
				}
			}
		}
	}
}

// decodeClip gives the luma of all pictures, as ffmpeg decodes them.
func decodeClip(t *testing.T, c recorder.PictureClip, samples []recorder.ClipSample) []byte {
	t.Helper()
	var file bytes.Buffer
	name, format := filepath.Join(t.TempDir(), "clip"), "h264"
	if c.Codec == recorder.ClipVP8 {
		format = "ivf"
		writeIVFHeader(&file, c, len(samples))
	}
	for n, s := range samples {
		if format == "ivf" {
			_ = binary.Write(&file, binary.LittleEndian, uint32(len(s.Data)))
			_ = binary.Write(&file, binary.LittleEndian, uint64(n))
		}
		file.Write(s.Data)
	}
	require.NoError(t, os.WriteFile(name, file.Bytes(), 0o600))
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-f", format, "-i", name,
		"-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-color_range", "tv", "-vf", "extractplanes=y", "pipe:1").Output()
	require.NoError(t, err)
	return out
}

func writeIVFHeader(file *bytes.Buffer, c recorder.PictureClip, frames int) {
	file.WriteString("DKIF")
	for _, v := range []any{
		uint16(0), uint16(32), []byte("VP80"), uint16(c.Width), uint16(c.Height),
		uint32(c.Framerate), uint32(1), uint32(frames), uint32(0),
	} {
		_ = binary.Write(file, binary.LittleEndian, v)
	}
}

// H.264 in RTP: constrained baseline, no delimiters, parameters with each key frame.
func TestClipsOfH264AreWhatReceiversTake(t *testing.T) {
	samples, err := ClipEncoder{}.EncodePictures(t.Context(), greys(recorder.ClipH264, 640, 360, 31))
	require.NoError(t, err)
	for n, s := range samples {
		var kinds []byte
		for _, unit := range bytes.Split(s.Data, []byte{0, 0, 1})[1:] {
			kinds = append(kinds, unit[0]&31)
			if unit[0]&31 == 7 {
				assert.Equal(t, []byte{0x42, 0xc0}, unit[1:3], "constrained baseline")
			}
		}
		if n%15 == 0 {
			assert.Subset(t, kinds, []byte{7, 8, 5}, "picture %d", n)
			assert.True(t, s.Key)
		} else {
			assert.Equal(t, []byte{1}, kinds, "picture %d is one slice", n)
			assert.False(t, s.Key)
		}
	}
}

func TestClipsOfSoundLoopInPlace(t *testing.T) {
	const seconds, beepAt = 2, 1.25
	samples := make([]float32, seconds*recorder.ClipRate)
	for i := range samples {
		at := float64(i) / recorder.ClipRate
		samples[i] = float32(0.2 * math.Sin(2*math.Pi*440*at)) // whole periods in the loop
		if at >= beepAt && at < beepAt+0.1 {
			samples[i] += float32(0.5 * math.Sin(2*math.Pi*1000*(at-beepAt)))
		}
	}
	packets, err := ClipEncoder{}.EncodeSound(t.Context(), recorder.SoundClip{Samples: samples, Bitrate: 96})
	require.NoError(t, err)
	require.Len(t, packets, seconds*50)
	var twice []recorder.ClipSample
	decoded := decodeOpus(t, append(append(twice, packets...), packets...))
	require.Len(t, decoded, 2*len(samples))

	// Of both rounds, the second begins with what its last packet left in the decoder.
	round := decoded[len(samples):]
	best, at := 0.0, 0
	for shift := -600; shift <= 600; shift++ {
		var sum float64
		for i := range 4800 {
			j := int(beepAt*recorder.ClipRate) + i
			sum += float64(samples[j] * round[j+shift])
		}
		if sum > best {
			best, at = sum, shift
		}
	}
	assert.InDelta(t, 0, at, 24, "the beep is where it was, within half a millisecond")
	worst := func(from, to int) (w float64) {
		for i := from; i < to; i++ {
			w = max(w, math.Abs(float64(samples[i%len(samples)]-decoded[i])))
		}
		return w
	}
	usual, seam := worst(len(samples)/4, len(samples)/2), worst(len(samples)-960, len(samples)+960)
	t.Logf("error in the middle %.4f, at the seam %.4f; beep off by %d samples", usual, seam, at)
	assert.Less(t, seam, max(2*usual, 0.02), "no seam")
}

func decodeOpus(t *testing.T, packets []recorder.ClipSample) []float32 {
	t.Helper()
	u, err := newUnit("opus", "appsrc name=src format=time max-bytes=0 caps=\"audio/x-opus,channel-mapping-family=0,channels=1,rate=48000\""+
		" ! opusdec ! audioconvert ! audio/x-raw,format=F32LE,channels=1 ! appsink name=sink sync=false", zap.NewNop())
	require.NoError(t, err)
	defer u.stop()
	require.NoError(t, u.play())
	src, sink := u.source("src"), u.sink("sink")
	for n, p := range packets {
		raw := gst.NewBufferFromBytes(p.Data)
		src.PushBuffer(stamped(raw, time.Duration(n)*20*time.Millisecond, 20*time.Millisecond))
	}
	src.EndStream()
	var all []float32
	for {
		sample := sink.TryPullSample(clockTime(5 * time.Second))
		if sample == nil {
			require.True(t, sink.IsEOS(), "%v", u.err())
			return all
		}
		b := takeBuffer(sample)
		data := b.Bytes()
		all = append(all, unsafe.Slice((*float32)(unsafe.Pointer(&data[0])), len(data)/4)...)
		freeBuffer(b)
	}
}

func TestClipsThatCannotBeAreRefused(t *testing.T) {
	fails := func(change func(*recorder.PictureClip)) string {
		t.Helper()
		c := greys(recorder.ClipVP8, 320, 180, 15)
		change(&c)
		_, err := ClipEncoder{}.EncodePictures(t.Context(), c)
		require.Error(t, err)
		assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
		return err.Error()
	}
	assert.Contains(t, fails(func(c *recorder.PictureClip) { c.Codec = "mpeg2" }), "mpeg2")
	assert.Contains(t, fails(func(c *recorder.PictureClip) { c.Width = 321 }), "321x180")
	assert.Contains(t, fails(func(c *recorder.PictureClip) { c.Frames = 0 }), "frames 0")
	_, err := ClipEncoder{}.EncodeSound(t.Context(), recorder.SoundClip{Samples: make([]float32, 961), Bitrate: 32})
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	_, err = ClipEncoder{}.EncodeSound(t.Context(), recorder.SoundClip{Samples: make([]float32, 960)})
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))

	ctx, cancel := context.WithCancel(t.Context())
	c := greys(recorder.ClipVP8, 640, 360, 100_000)
	draw := c.Draw
	c.Draw = func(n int, i420 []byte) {
		draw(n, i420)
		if n == 50 {
			cancel()
		}
	}
	_, err = ClipEncoder{}.EncodePictures(ctx, c)
	assert.ErrorIs(t, err, context.Canceled)
}
