package rehearsal

import (
	"context"
	"math"

	"tapedeck/recorder"
)

// Encoder encodes clips as fast as it goes; pipeline.ClipEncoder does.
type Encoder interface {
	EncodePictures(ctx context.Context, c recorder.PictureClip) ([]recorder.ClipSample, error)
	EncodeSound(ctx context.Context, c recorder.SoundClip) ([]recorder.ClipSample, error)
}

// soundPerSecond is how many packets of sound there are in a second.
const soundPerSecond = recorder.ClipRate / recorder.ClipPacketFrames

// Clip is an encoded loop. It does not change: any number of tracks may play it at once.
type Clip struct {
	codec         string
	width, height int // 0 for sound
	perSecond     int64
	samples       []recorder.ClipSample
	levels        []uint8 // of sound: how far below full scale each packet is, in dB (RFC 6464)
	kbps          int
}

func encodePictures(ctx context.Context, e Encoder, c recorder.PictureClip) (*Clip, error) {
	samples, err := e.EncodePictures(ctx, c)
	if err != nil {
		return nil, err
	}
	return newClip(&Clip{
		codec: c.Codec, width: c.Width, height: c.Height, perSecond: int64(c.Framerate), samples: samples, kbps: c.Bitrate,
	}, c.Frames)
}

func encodeSound(ctx context.Context, e Encoder, c recorder.SoundClip) (*Clip, error) {
	samples, err := e.EncodeSound(ctx, c)
	if err != nil {
		return nil, err
	}
	return newClip(&Clip{
		codec: recorder.ClipOpus, perSecond: soundPerSecond, samples: samples, levels: levels(c.Samples), kbps: c.Bitrate,
	}, len(c.Samples)/recorder.ClipPacketFrames)
}

func newClip(c *Clip, want int) (*Clip, error) {
	if want == 0 || len(c.samples) != want || !c.samples[0].Key {
		return nil, recorder.Errorf(recorder.CodeInternal, "clip: the encoder gave %d samples for %d, or no key frame first", len(c.samples), want)
	}
	return c, nil
}

func (c *Clip) video() bool { return c.codec != recorder.ClipOpus }

// sample gives sample n of the endless loop.
func (c *Clip) sample(n int64) recorder.ClipSample { return c.samples[n%int64(len(c.samples))] }

func (c *Clip) level(n int64) uint8 { return c.levels[n%int64(len(c.levels))] }

// silence is the level of a packet without sound.
const silence = 127

// levels measures every packet.
func levels(samples []float32) []uint8 {
	all := make([]uint8, 0, len(samples)/recorder.ClipPacketFrames)
	for len(samples) >= recorder.ClipPacketFrames {
		var power float64
		for _, s := range samples[:recorder.ClipPacketFrames] {
			power += float64(s) * float64(s)
		}
		samples = samples[recorder.ClipPacketFrames:]
		level := float64(silence)
		if power > 0 {
			level = -10 * math.Log10(power/recorder.ClipPacketFrames)
		}
		all = append(all, uint8(math.Round(min(max(level, 0), silence))))
	}
	return all
}
