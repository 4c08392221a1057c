package rehearsal

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func TestTimetableIsExact(t *testing.T) {
	table := newTimetable(time.Unix(1_800_000_000, 123_456_789))
	for _, perSecond := range []int64{24, 25, 30, 50, 60} {
		n := table.next(table.anchor, perSecond)
		assert.False(t, table.due(n, perSecond).Before(table.anchor))
		assert.True(t, table.due(n-1, perSecond).Before(table.anchor))
		// A day later not a nanosecond has added up.
		day := n + 86400*perSecond
		assert.Equal(t, 24*time.Hour, table.due(day, perSecond).Sub(table.due(n, perSecond)))
		// Whole seconds are whole samples.
		assert.Zero(t, table.due(perSecond*1_800_000_007, perSecond).Nanosecond())
		for i := range perSecond {
			assert.Equal(t, n+i, table.next(table.due(n+i, perSecond), perSecond), "a sample that is due is the next")
		}
	}
}

func TestTimestampsGoOnOverTheirWrap(t *testing.T) {
	const base = math.MaxUint32 - 4000
	n := int64(54_000_000_000)
	for i := range int64(1000) {
		assert.EqualValues(t, 3000, timestamp(base, n+i+1, 30, videoClock)-timestamp(base, n+i, 30, videoClock))
		assert.EqualValues(t, 960, timestamp(base, n+i+1, 50, soundClock)-timestamp(base, n+i, 50, soundClock))
	}
	// Picture and sound of the same moment are as far from their bases.
	table := newTimetable(time.Unix(1_800_000_000, 0))
	at := table.due(30*1_800_000_003+7, 30)
	assert.Equal(t, timestamp(9, 30*1_800_000_003+7, 30, videoClock), 9+uint32(table.ticks(at.Add(time.Nanosecond), videoClock)))
}

func TestReportsAreOnTheTimetable(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC)
	assert.EqualValues(t, 1<<31, ntpTime(at)&math.MaxUint32)
	assert.Equal(t, int64(2_208_988_800), int64(ntpTime(at)>>32)-at.Unix())
}

func TestLevelsAreDecibelsBelowFullScale(t *testing.T) {
	packet := func(amplitude float64) []float32 {
		samples := make([]float32, recorder.ClipPacketFrames)
		for i := range samples {
			samples[i] = float32(amplitude * math.Sin(2*math.Pi*1000*float64(i)/recorder.ClipRate))
		}
		return samples
	}
	all := append(append(append(packet(1), packet(0.1)...), packet(0)...), packet(1e-9)...)
	assert.Equal(t, []uint8{3, 23, 127, 127}, levels(all))
}

func TestSoundsAreWholePacketsAndLoop(t *testing.T) {
	for _, s := range []Sound{Tone(440), Beeps(), Turn(0, 3, 150), Turn(2, 3, 200), Turn(5, 3, 200), Turn(0, 0, 100)} {
		samples := s.samples()
		assert.Zero(t, len(samples)%recorder.ClipPacketFrames)
		var peak float64
		for _, v := range samples {
			peak = max(peak, math.Abs(float64(v)))
		}
		assert.InDelta(t, 0.4, peak, 0.3, "%v is heard and not clipped", s)
		assert.InDelta(t, 0, samples[0], 1e-6)
	}
	assert.Equal(t, Turn(2, 3, 200).samples(), Turn(5, 3, 200).samples(), "turns come round")
	turn := levels(Turn(1, 3, 200).samples())
	require.Len(t, turn, 3*TurnSeconds*soundPerSecond)
	for i, level := range turn {
		if speaks := i/(TurnSeconds*soundPerSecond) == 1; speaks {
			assert.Less(t, level, uint8(35), "packet %d counts as speech for LiveKit", i)
		} else {
			assert.EqualValues(t, silence, level, "packet %d", i)
		}
	}
}

// counting is an encoder that counts what it is asked for.
type counting struct {
	asked atomic.Int32
	fail  error
	gate  chan struct{}
}

func (c *counting) EncodePictures(_ context.Context, clip recorder.PictureClip) ([]recorder.ClipSample, error) {
	c.asked.Add(1)
	if c.gate != nil {
		<-c.gate
	}
	if c.fail != nil {
		return nil, c.fail
	}
	samples := make([]recorder.ClipSample, clip.Frames)
	samples[0].Key = true
	return samples, nil
}

func (c *counting) EncodeSound(context.Context, recorder.SoundClip) ([]recorder.ClipSample, error) {
	c.asked.Add(1)
	return make([]recorder.ClipSample, 3), c.fail
}

func TestStudioMakesEachClipOnce(t *testing.T) {
	e := &counting{gate: make(chan struct{})}
	s := NewStudio(e)
	var all sync.WaitGroup
	clips := make([]*Clip, 25)
	for i := range clips {
		all.Go(func() {
			var err error
			clips[i], err = s.Pictures(t.Context(), Presenter("Ada", 1), Format{})
			assert.NoError(t, err)
		})
	}
	close(e.gate)
	all.Wait()
	for _, c := range clips {
		assert.Same(t, clips[0], c)
	}
	assert.EqualValues(t, 1, e.asked.Load())
	same, err := s.Pictures(t.Context(), Presenter("Ada", 1), Format{Codec: recorder.ClipVP8, Width: 640, Height: 360, Framerate: 30})
	require.NoError(t, err)
	assert.Same(t, clips[0], same, "the defaults spelt out")
	layers, err := s.Layers(t.Context(), Presenter("Ada", 1), Format{Width: 1280, Height: 720})
	require.NoError(t, err)
	assert.Equal(t, []int{320, 640, 1280}, []int{layers[0].width, layers[1].width, layers[2].width})
	assert.Same(t, clips[0], layers[1], "a layer is a clip like any other")
	assert.EqualValues(t, 3, e.asked.Load())
	_, err = s.Pictures(t.Context(), Presenter("Ada", 2), Format{})
	require.NoError(t, err)
	assert.EqualValues(t, 4, e.asked.Load(), "another colour is another clip")
}

func TestStudioTriesAgainAfterAFailure(t *testing.T) {
	e := &counting{fail: errors.New("no such encoder")}
	s := NewStudio(e)
	_, err := s.Pictures(t.Context(), Measuring(), Format{})
	require.ErrorIs(t, err, e.fail)
	e.fail = nil
	_, err = s.Pictures(t.Context(), Measuring(), Format{})
	require.NoError(t, err)
	_, err = s.Sound(t.Context(), Beeps())
	assert.Equal(t, recorder.CodeInternal, recorder.CodeOf(err), "3 packets are not a second")
	for _, f := range []Format{{Width: 641, Height: 360}, {Width: 640}, {Framerate: 7}, {Framerate: -1}, {Width: 8, Height: 8}} {
		_, err = s.Pictures(t.Context(), Measuring(), f)
		assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err), "%+v", f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.gate = make(chan struct{})
	defer close(e.gate)
	go func() { _, _ = s.Pictures(t.Context(), Measuring(), Format{Framerate: 25}) }()
	for e.asked.Load() < 4 {
		time.Sleep(time.Millisecond)
	}
	_, err = s.Pictures(ctx, Measuring(), Format{Framerate: 25})
	assert.ErrorIs(t, err, context.Canceled, "who waits can stop waiting")
}

func TestLayersGoTogether(t *testing.T) {
	video := func(codec string, width int) *Clip { return &Clip{codec: codec, width: width, perSecond: 30} }
	sound := &Clip{codec: recorder.ClipOpus, perSecond: 50}
	ordered, err := layersOf([]*Clip{video("vp8", 640), video("vp8", 320)}, true)
	require.NoError(t, err)
	assert.Equal(t, 320, ordered[0].width)
	for _, wrong := range [][]*Clip{
		nil,
		{video("vp8", 1), video("vp8", 2), video("vp8", 3), video("vp8", 4)},
		{video("vp8", 640), video("h264", 320)},
		{video("vp8", 640), video("vp8", 640)},
		{sound},
	} {
		_, err := layersOf(wrong, true)
		assert.Error(t, err)
	}
	_, err = layersOf([]*Clip{video("vp8", 640)}, false)
	assert.ErrorContains(t, err, "vp8")
}
