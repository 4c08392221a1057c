package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// ClipEncoder encodes clips for rehearsed participants, as fast as it goes. It
// holds nothing; any number of clips may be encoded at once.
type ClipEncoder struct {
	// Log gets warnings of GStreamer. None when nil.
	Log *zap.Logger
}

// clipWaiting is how many pictures or packets may wait for the encoder.
const clipWaiting = 4

// EncodePictures encodes every picture of the clip. The error has CodeInvalid for
// a clip that cannot be, CodePipeline for an encoder that fails.
func (e ClipEncoder) EncodePictures(ctx context.Context, c recorder.PictureClip) ([]recorder.ClipSample, error) {
	if err := checkPictureClip(c); err != nil {
		return nil, err
	}
	picture := make([]byte, c.Width*c.Height*3/2)
	launch := fmt.Sprintf("appsrc name=clip format=time is-live=false block=true max-bytes=%d"+
		" caps=\"video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1,colorimetry=bt601,interlace-mode=progressive,pixel-aspect-ratio=1/1\""+
		" ! %s ! appsink name=encoded sync=false enable-last-sample=false",
		clipWaiting*len(picture), c.Width, c.Height, c.Framerate, clipEncoderElement(c))
	samples, err := e.encode(ctx, launch, c.Frames, func(n int) clipInput {
		c.Draw(n, picture)
		return clipInput{padPlanes(picture, c.Width, c.Height), uint64(n), uint64(c.Framerate)}
	})
	if err != nil {
		return nil, err
	}
	return samples, checkClip(samples, c.Frames, c.KeyEvery)
}

func checkPictureClip(c recorder.PictureClip) error {
	switch {
	case c.Codec != recorder.ClipVP8 && c.Codec != recorder.ClipH264:
		return recorder.Errorf(recorder.CodeInvalid, "clip: codec %q: give %s or %s", c.Codec, recorder.ClipVP8, recorder.ClipH264)
	case c.Width < 16 || c.Height < 16 || c.Width%2 != 0 || c.Height%2 != 0:
		return recorder.Errorf(recorder.CodeInvalid, "clip: size %dx%d: give even numbers from 16", c.Width, c.Height)
	case c.Framerate < 1 || c.Frames < 1 || c.KeyEvery < 1 || c.Bitrate < 1:
		return recorder.Errorf(recorder.CodeInvalid, "clip: framerate %d, frames %d, key frame every %d, bitrate %d: give positive numbers",
			c.Framerate, c.Frames, c.KeyEvery, c.Bitrate)
	}
	return nil
}

// clipEncoderElement chooses what every receiver of WebRTC decodes: no B-frames,
// and of H.264 the constrained baseline profile, its parameters with each key frame.
func clipEncoderElement(c recorder.PictureClip) string {
	if c.Codec == recorder.ClipH264 {
		return fmt.Sprintf("x264enc speed-preset=veryfast tune=zerolatency sliced-threads=false threads=1 bitrate=%d key-int-max=%d aud=false"+
			" option-string=\"scenecut=0:open-gop=0\" ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au", c.Bitrate, c.KeyEvery)
	}
	return fmt.Sprintf("vp8enc deadline=1 cpu-used=6 threads=1 end-usage=cbr target-bitrate=%d keyframe-max-dist=%d lag-in-frames=0"+
		" dropframe-threshold=0 resize-allowed=false", c.Bitrate*1000, c.KeyEvery)
}

// padPlanes gives I420 as GStreamer has it, whose rows are padded to 4 bytes;
// itself when there is nothing to pad.
func padPlanes(i420 []byte, width, height int) []byte {
	if width%8 == 0 {
		return i420
	}
	var padded []byte
	for _, plane := range []struct{ width, height int }{{width, height}, {width / 2, height / 2}, {width / 2, height / 2}} {
		for range plane.height {
			padded = append(padded, i420[:plane.width]...)
			padded = append(padded, make([]byte, -plane.width&3)...)
			i420 = i420[plane.width:]
		}
	}
	return padded
}

// checkClip sees that the loop is whole, and that decoding can begin often enough.
func checkClip(samples []recorder.ClipSample, frames, keyEvery int) error {
	if len(samples) != frames {
		return recorder.Errorf(recorder.CodePipeline, "clip: %d pictures became %d", frames, len(samples))
	}
	for i, since := 0, keyEvery; i < frames; i, since = i+1, since+1 {
		if samples[i].Key {
			since = 0
		}
		if since >= keyEvery {
			return recorder.Errorf(recorder.CodePipeline, "clip: no key frame in %d pictures before picture %d", keyEvery, i)
		}
	}
	return nil
}

// What Opus needs for a loop without a seam.
const (
	// opusDelay is how much later than it was put in sound comes out of a decoder, in
	// frames at 48 kHz (opus_encoder_ctl, OPUS_GET_LOOKAHEAD). Players of files skip
	// it; in RTP nobody does.
	opusDelay = 312
	// opusWarmUp is how many packets the encoder gets of the end of the loop, so that
	// its first packet follows on its last.
	opusWarmUp = 10
)

// EncodeSound encodes the clip as Opus packets of 20 ms. They decode to the loop
// exactly in its place, without a seam. Errors are those of EncodePictures.
func (e ClipEncoder) EncodeSound(ctx context.Context, c recorder.SoundClip) ([]recorder.ClipSample, error) {
	packets := len(c.Samples) / recorder.ClipPacketFrames
	if packets == 0 || len(c.Samples)%recorder.ClipPacketFrames != 0 || c.Bitrate < 6 || c.Bitrate > 510 {
		return nil, recorder.Errorf(recorder.CodeInvalid, "clip: %d samples at %d kbps: give whole packets of %d samples and 6 to 510 kbps",
			len(c.Samples), c.Bitrate, recorder.ClipPacketFrames)
	}
	launch := fmt.Sprintf("appsrc name=clip format=time is-live=false block=true max-bytes=%d"+
		" caps=\"audio/x-raw,format=F32LE,layout=interleaved,rate=%d,channels=1\" ! audioconvert ! opusenc bitrate=%d frame-size=20"+
		" ! appsink name=encoded sync=false enable-last-sample=false",
		clipWaiting*4*recorder.ClipPacketFrames, recorder.ClipRate, c.Bitrate*1000)
	block := make([]float32, recorder.ClipPacketFrames)
	// One packet more pushes the last one out whole.
	samples, err := e.encode(ctx, launch, opusWarmUp+packets+1, func(n int) clipInput {
		first := (n-opusWarmUp)*recorder.ClipPacketFrames + opusDelay
		for i := range block {
			block[i] = c.Samples[wrap(first+i, len(c.Samples))]
		}
		return clipInput{bytesOf(block), uint64(n), recorder.ClipRate / recorder.ClipPacketFrames}
	})
	if err != nil {
		return nil, err
	}
	if len(samples) < opusWarmUp+packets {
		return nil, recorder.Errorf(recorder.CodePipeline, "clip: %d packets of sound became %d", packets, len(samples)-opusWarmUp)
	}
	samples = samples[opusWarmUp : opusWarmUp+packets]
	for i := range samples {
		samples[i].Key = true
	}
	return samples, nil
}

// wrap gives n modulo size, for negative n too.
func wrap(n, size int) int { return (n%size + size) % size }

// clipInput is picture or block n; perSecond of them make a second. data is
// valid until the next one is asked for.
type clipInput struct {
	data         []byte
	n, perSecond uint64
}

func (c clipInput) at() time.Duration { return time.Duration(c.n * uint64(time.Second) / c.perSecond) }

// encode feeds the pipeline with so many inputs and collects what it makes of them.
func (e ClipEncoder) encode(ctx context.Context, launch string, count int, input func(n int) clipInput) ([]recorder.ClipSample, error) {
	gstInit()
	log := e.Log
	if log == nil {
		log = zap.NewNop()
	}
	u, err := newUnit("clip", launch, log)
	if err != nil {
		return nil, err
	}
	src, sink := u.source("clip"), u.sink("encoded")
	fed := make(chan struct{})
	defer func() {
		u.stop() // ends the feeder: what it pushes is refused
		<-fed
	}()
	if err := u.play(); err != nil {
		close(fed)
		return nil, err
	}
	go func() {
		defer close(fed)
		feedClip(src, count, input)
	}()
	return collectClip(ctx, u, sink)
}

func feedClip(src *app.Source, count int, input func(n int) clipInput) {
	for n := range count {
		in := input(n)
		raw := gst.NewBufferFromBytes(in.data)
		end := clipInput{n: in.n + 1, perSecond: in.perSecond}
		b := stamped(raw, in.at(), end.at()-in.at())
		ret := src.PushBuffer(b)
		freeBuffer(b)
		freeBuffer(raw)
		if ret != gst.FlowOK {
			return
		}
	}
	src.EndStream()
}

func collectClip(ctx context.Context, u *unit, sink *app.Sink) ([]recorder.ClipSample, error) {
	var samples []recorder.ClipSample
	for {
		if ctx.Err() != nil {
			return nil, recorder.Errorf(recorder.CodeAborted, "encoding a clip: %w", context.Cause(ctx))
		}
		sample := sink.TryPullSample(clockTime(pollEvery))
		if sample != nil {
			b := takeBuffer(sample)
			samples = append(samples, recorder.ClipSample{Data: b.Bytes(), Key: !b.HasFlags(gst.BufferFlagDeltaUnit)})
			freeBuffer(b)
			continue
		}
		if err := u.err(); err != nil {
			return nil, err
		}
		if sink.IsEOS() {
			return samples, nil
		}
	}
}
