package pipeline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

func TestGridHasNoRoundingError(t *testing.T) {
	for _, fps := range []int64{1, 7, 24, 25, 30, 50, 60} {
		g := grid{fps: fps}
		first := int64(12345)
		for n := first; n < first+5000; n++ {
			stamp := time.Duration(n * int64(time.Second) / fps) // as ximagesrc stamps
			require.Equal(t, n, g.number(stamp))
			missing, ok := g.place(g.number(stamp))
			require.True(t, ok)
			require.Zero(t, missing)
			g.next++
		}
		hour := g.at(3600 * fps)
		require.Equal(t, time.Hour, hour)
	}
}

func TestGridPlacesLateAndLostFrames(t *testing.T) {
	g := grid{fps: 30}
	frame := time.Second / 30
	place := func(pts time.Duration) (int64, bool) {
		missing, ok := g.place(g.number(pts))
		if ok {
			g.next += missing + 1
		}
		return missing, ok
	}
	_, ok := place(3 * frame)
	require.True(t, ok)
	missing, ok := place(4*frame + frame/2) // late, but in its slot
	require.True(t, ok)
	require.Zero(t, missing)
	_, ok = place(4*frame + frame*3/4) // the slot is taken
	require.False(t, ok)
	missing, ok = place(8 * frame) // three were not captured
	require.True(t, ok)
	require.EqualValues(t, 3, missing)
}

// device plays the part of pulsesrc: chunks of 10 ms from a clock that is off
// by so many parts in a million, each arriving late by chance.
type device struct {
	line *soundLine
	ppm  float64
	late func() time.Duration
	n    int64 // chunks
	lost int64 // frames that never came
}

func (d *device) capturedAt(frame int64) time.Duration {
	return time.Duration(float64(frame) / 48000 * (1 + d.ppm/1e6) * 1e9)
}

func (d *device) chunk() time.Duration {
	const size = 480
	position := d.n*size + d.lost
	arrival := d.capturedAt(position+size) + d.late()
	d.n++
	d.line.feed(arrival, position, make([]float32, size*channels))
	d.line.fifo = d.line.fifo[:0]
	return d.capturedAt(position + size)
}

// An hour of sound from clocks that are off, under a load that delays arrivals:
// the line never strays a frame from the clock.
func TestSoundDoesNotDriftInAnHour(t *testing.T) {
	t.Parallel()
	for _, ppm := range []float64{0, 20, -20, 200, -200} {
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test wants the same numbers each time
		d := &device{line: newSoundLine(48000, 0), ppm: ppm, late: func() time.Duration {
			return time.Duration(random.ExpFloat64() * float64(8*time.Millisecond))
		}}
		for range 200 {
			d.chunk()
		}
		base := d.capturedAt(d.n * 480)
		d.line.begin(base)
		worst := time.Duration(0)
		for range 100 * 3600 {
			captured := d.chunk()
			if d.line.placed == 0 {
				continue
			}
			stray := d.line.duration(d.line.placed) - (captured - base)
			worst = max(worst, stray.Abs())
		}
		t.Logf("%+.0f ppm: off by %v at most in an hour", ppm, worst)
		require.Less(t, worst, 5*time.Millisecond, "%v ppm", ppm)
		require.Zero(t, d.line.inserted, "nothing was cut")
	}
}

func TestSoundKeepsItsPlaceAcrossALoss(t *testing.T) {
	d := &device{line: newSoundLine(48000, 0), late: func() time.Duration { return 0 }}
	for range 100 {
		d.chunk()
	}
	base := d.capturedAt(d.n * 480)
	d.line.begin(base)
	for range 100 {
		d.chunk()
	}
	d.lost += 24000 // half a second is gone
	for range 100 {
		captured := d.chunk()
		require.InDelta(t, captured-base, d.line.duration(d.line.placed), float64(time.Millisecond))
	}
	require.EqualValues(t, 24000, d.line.inserted)
}

func TestSoundBeginsAtTheBase(t *testing.T) {
	line := newSoundLine(48000, 0)
	ramp := func(from int64, n int) []float32 {
		pcm := make([]float32, n*channels)
		for i := range pcm {
			pcm[i] = float32(from + int64(i/channels))
		}
		return pcm
	}
	for n := range int64(20) {
		line.feed(time.Duration(n+1)*10*time.Millisecond, n*480, ramp(n*480, 480))
	}
	base := 123 * time.Millisecond // in the past: what was captured since is kept
	line.begin(base)
	block := line.take()
	require.NotNil(t, block)
	require.InDelta(t, base.Seconds()*48000, block[0], 1)
	for i := 2; i < len(block); i += 2 {
		require.InDelta(t, block[i-2]+1, block[i], 0.01, "unbroken")
	}
}

// Sound that is placed ahead of the clock is not pushed ahead of it: an end cuts
// it where the picture's is.
func TestSoundEndsWithThePicture(t *testing.T) {
	pushed := int64(0)
	a := &audioSource{line: newSoundLine(48000, 42*time.Millisecond), log: zap.NewNop(), push: func(_ []float32, n int64) { pushed = n + 1 }}
	a.line.begin(0)
	pcm := make([]float32, 480*channels)
	for n := range int64(100) {
		now := time.Duration(n+1) * 10 * time.Millisecond
		a.line.feed(now, n*480, pcm)
		a.flush(now)
		require.LessOrEqual(t, a.line.duration(pushed*blockFrames), now)
		require.Greater(t, a.line.duration((pushed+2)*blockFrames), now, "nor is it late")
	}
	a.finish(time.Second)
	require.InDelta(t, time.Second, a.line.duration(pushed*blockFrames), float64(blockFrames*time.Second/48000/2))
}

func TestSilenceFillsAndIsNotOverlapped(t *testing.T) {
	line := newSoundLine(48000, 0)
	pcm := make([]float32, 480*channels)
	for n := range int64(100) {
		line.feed(time.Duration(n+1)*10*time.Millisecond, n*480, pcm)
	}
	line.begin(time.Second)
	line.fill(3 * time.Second)
	require.EqualValues(t, 2*48000, line.placed)
	line.feed(2010*time.Millisecond, 100*480, pcm) // late news of what was filled
	line.feed(2020*time.Millisecond, 101*480, pcm)
	require.EqualValues(t, 2*48000, line.placed)
	line.finish(2*48000 + 1024)
	require.EqualValues(t, 2*48000+1024, line.placed)
}

func TestStretchIsSmooth(t *testing.T) {
	for _, longer := range []bool{true, false} {
		line := newSoundLine(48000, 0)
		pcm := make([]float32, 480*channels)
		for i := range pcm {
			pcm[i] = float32(math.Sin(2 * math.Pi * 440 * float64(i/channels) / 48000))
		}
		line.stretch(pcm, longer)
		want := 479
		if longer {
			want = 481
		}
		require.Len(t, line.fifo, want*channels)
		for i := channels; i < len(line.fifo); i++ {
			require.InDelta(t, line.fifo[i-channels], line.fifo[i], 0.06, "no click")
		}
	}
}

func TestKeyRequests(t *testing.T) {
	var k keyRequests
	now := time.Unix(1000, 0)
	require.False(t, k.seen(true, now))
	k.want()
	require.False(t, k.seen(false, now.Add(keyEvery/2)), "there was one just now")
	require.True(t, k.seen(false, now.Add(keyEvery)), "it is made up for")
	require.False(t, k.seen(false, now.Add(10*keyEvery)), "once")
	k.want()
	require.False(t, k.seen(true, now.Add(20*keyEvery)), "one came by itself")
	require.False(t, k.seen(false, now.Add(30*keyEvery)))
}

func TestBackoff(t *testing.T) {
	timing := StreamTiming{}.withDefaults()
	for n := 1; n < 200; n++ {
		d := timing.backoff(n)
		require.GreaterOrEqual(t, d, timing.BackoffMin/2)
		require.LessOrEqual(t, d, timing.BackoffMax)
	}
	require.GreaterOrEqual(t, timing.backoff(100), timing.BackoffMax/2)
}

func TestMP3Bitrate(t *testing.T) {
	for in, want := range map[int]int{16: 32, 128: 128, 130: 128, 512: 320, 200: 192} {
		require.Equal(t, want, mp3Bitrate(in), "%d", in)
	}
}

func TestIngestURLs(t *testing.T) {
	gstInit()
	for url, want := range map[string][7]string{
		"rtmp://live.twitch.tv/app/live_1_a?bandwidthtest=true": {"0", "live.twitch.tv", "1935", "app", "live_1_a?bandwidthtest=true"},
		"rtmps://a.rtmps.youtube.com:443/live2/ab-cd":           {"1", "a.rtmps.youtube.com", "443", "live2", "ab-cd"},
		"rtmps://live-api-s.facebook.com/rtmp/FB-1?a=/b&c=%2F":  {"1", "live-api-s.facebook.com", "443", "rtmp", "FB-1?a=/b&c=%2F"},
		"rtmp://user:pa%20ss@h:1936/a/b/c/key":                  {"0", "h", "1936", "a/b/c", "key", "user", "pa ss"},
		"rtmp://[::1]:1935/app/k%2Fe":                           {"0", "::1", "1935", "app", "k%2Fe"},
	} {
		in, err := parseIngest(url)
		require.NoError(t, err)
		u, err := newUnit("test", "appsrc ! rtmp2sink name=sink", zap.NewNop())
		require.NoError(t, err)
		for _, p := range in.address() {
			require.NoError(t, u.set("sink", p[0], p[1]))
		}
		for i, property := range []string{"scheme", "host", "port", "application", "stream", "username", "password"} {
			got, err := u.element("sink").GetProperty(property)
			require.NoError(t, err)
			if got == nil {
				got = ""
			}
			require.Equal(t, want[i], fmt.Sprint(got), "%s of %s", property, url)
		}
	}
	for _, url := range []string{"rtmp://h/app", "rtmp://h/app/", "rtmp:///app/key", "http://h/app/key", "rtmp://h", "%"} {
		_, err := parseIngest(url)
		require.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err), url)
	}
}
