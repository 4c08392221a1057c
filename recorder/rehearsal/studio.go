package rehearsal

import (
	"context"
	"sync"

	"tapedeck/recorder"
)

// Format is how a scene is encoded.
type Format struct {
	Codec         string // recorder.ClipVP8, the default, or recorder.ClipH264
	Width, Height int    // pixels, even; 640x360 when both are zero
	Framerate     int    // one that divides 90000; 30 when zero
	Bitrate       int    // kbps; by the size when zero
}

func (f Format) withDefaults() Format {
	if f.Codec == "" {
		f.Codec = recorder.ClipVP8
	}
	if f.Width == 0 && f.Height == 0 {
		f.Width, f.Height = 640, 360
	}
	if f.Framerate == 0 {
		f.Framerate = 30
	}
	if f.Bitrate == 0 {
		// What people's browsers send: 160 kbps at 320x180, 600 at 640x360, 1700 at 1280x720.
		f.Bitrate = max(100, f.Width*f.Height*f.Framerate/13000)
	}
	return f
}

// check is for what the painters rely on; the encoder checks the rest.
func (f Format) check() error {
	if f.Width < 16 || f.Height < 16 || f.Width%2 != 0 || f.Height%2 != 0 {
		return recorder.Errorf(recorder.CodeInvalid, "clip: size %dx%d: give even numbers from 16", f.Width, f.Height)
	}
	if f.Framerate < 1 || videoClock%f.Framerate != 0 {
		return recorder.Errorf(recorder.CodeInvalid, "clip: framerate %d: give one that divides %d, such as 30", f.Framerate, videoClock)
	}
	return nil
}

// keysPerSecond is how many key frames there are: nobody can ask a clip for one,
// so whoever joins, or gets another layer, waits for the next.
const keysPerSecond = 2

// soundBitrate is in kbps.
const soundBitrate = 48

// Studio makes clips, each of them once: whoever asks for what was made gets the
// same clip, and whoever asks for what is being made waits for it.
type Studio struct {
	encoder Encoder

	mu    sync.Mutex
	clips map[any]*making
}

type making struct {
	done chan struct{}
	clip *Clip
	err  error
}

// NewStudio makes a studio without a clip.
func NewStudio(e Encoder) *Studio { return &Studio{encoder: e, clips: map[any]*making{}} }

// Pictures gives the clip of a scene in a format.
func (s *Studio) Pictures(ctx context.Context, scene Scene, f Format) (*Clip, error) {
	f = f.withDefaults()
	if err := f.check(); err != nil {
		return nil, err
	}
	type key struct {
		Scene
		Format
	}
	return s.make(ctx, key{scene, f}, func() (*Clip, error) {
		c := recorder.PictureClip{
			Codec: f.Codec, Width: f.Width, Height: f.Height, Framerate: f.Framerate, Frames: PictureLoop * f.Framerate,
			KeyEvery: max(1, f.Framerate/keysPerSecond), Bitrate: f.Bitrate,
			Draw: scene.painter(f.Width, f.Height, f.Framerate),
		}
		return encodePictures(ctx, s.encoder, c)
	})
}

// Layers gives three clips of a scene for simulcast: a quarter, half and the whole
// of the format's size.
func (s *Studio) Layers(ctx context.Context, scene Scene, f Format) ([]*Clip, error) {
	f = f.withDefaults()
	var clips []*Clip
	for _, part := range []int{4, 2, 1} {
		layer := f
		layer.Width, layer.Height, layer.Bitrate = f.Width/part&^1, f.Height/part&^1, 0
		c, err := s.Pictures(ctx, scene, layer)
		if err != nil {
			return nil, err
		}
		clips = append(clips, c)
	}
	return clips, nil
}

// Sound gives the clip of a sound.
func (s *Studio) Sound(ctx context.Context, sound Sound) (*Clip, error) {
	return s.make(ctx, sound, func() (*Clip, error) {
		return encodeSound(ctx, s.encoder, recorder.SoundClip{Samples: sound.samples(), Bitrate: soundBitrate})
	})
}

// make runs f unless that was done before. What failed is tried again by whoever
// waited for it.
func (s *Studio) make(ctx context.Context, key any, f func() (*Clip, error)) (*Clip, error) {
	for {
		s.mu.Lock()
		m, found := s.clips[key]
		if !found {
			m = &making{done: make(chan struct{})}
			s.clips[key] = m
		}
		s.mu.Unlock()
		if !found {
			m.clip, m.err = f()
			s.finish(key, m)
			return m.clip, m.err
		}
		select {
		case <-m.done:
			if m.err == nil {
				return m.clip, nil
			}
		case <-ctx.Done():
			return nil, recorder.Errorf(recorder.CodeAborted, "waiting for a clip: %w", context.Cause(ctx))
		}
	}
}

func (s *Studio) finish(key any, m *making) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.err != nil {
		delete(s.clips, key)
	}
	close(m.done)
}
