package recorder

import (
	"slices"
	"strings"
	"time"
)

// Encoding is how picture and sound are encoded: a preset, or advanced options,
// or neither for the defaults.
type Encoding struct {
	Preset   string           `json:"preset,omitempty"`
	Advanced *EncodingOptions `json:"advanced,omitempty"`
}

// EncodingOptions are the advanced options, spelled as in LiveKit. Zero means
// the default.
type EncodingOptions struct {
	Width            int     `json:"width,omitempty"`              // pixels, even, 160 to 3840; default 1280
	Height           int     `json:"height,omitempty"`             // pixels, even, 160 to 3840; default 720
	Framerate        int     `json:"framerate,omitempty"`          // frames per second, 1 to 60; default 30
	VideoBitrate     int     `json:"video_bitrate,omitempty"`      // kbit/s, 150 to 50000; default 3000
	AudioBitrate     int     `json:"audio_bitrate,omitempty"`      // kbit/s, 16 to 512; default 128
	AudioFrequency   int     `json:"audio_frequency,omitempty"`    // Hz, 44100 or 48000; default 48000
	KeyFrameInterval float64 `json:"key_frame_interval,omitempty"` // seconds, 0.5 to 30; default 4
}

// The encoding of a job that names none (LiveKit's own defaults).
func defaultEncoding() EncodingOptions {
	return EncodingOptions{
		Width: 1280, Height: 720, Framerate: 30, VideoBitrate: 3000,
		AudioBitrate: 128, AudioFrequency: 48000, KeyFrameInterval: 4,
	}
}

type preset struct {
	name                        string
	width, height, fps, bitrate int
}

// presets are LiveKit's EncodingOptionsPreset values.
func presets() []preset {
	return []preset{
		{"H264_720P_30", 1280, 720, 30, 3000},
		{"H264_720P_60", 1280, 720, 60, 4500},
		{"H264_1080P_30", 1920, 1080, 30, 4500},
		{"H264_1080P_60", 1920, 1080, 60, 6000},
		{"PORTRAIT_H264_720P_30", 720, 1280, 30, 3000},
		{"PORTRAIT_H264_720P_60", 720, 1280, 60, 4500},
		{"PORTRAIT_H264_1080P_30", 1080, 1920, 30, 4500},
		{"PORTRAIT_H264_1080P_60", 1080, 1920, 60, 6000},
	}
}

// PresetNames lists the presets in LiveKit's order.
func PresetNames() []string {
	var names []string
	for _, p := range presets() {
		names = append(names, p.name)
	}
	return names
}

// Options resolves the encoding: defaults, then the preset, then what the
// advanced options set. It is meaningful for a valid job only.
func (e Encoding) Options() EncodingOptions {
	o := defaultEncoding()
	i := slices.IndexFunc(presets(), func(p preset) bool { return strings.EqualFold(p.name, e.Preset) })
	if i >= 0 {
		p := presets()[i]
		o.Width, o.Height, o.Framerate, o.VideoBitrate = p.width, p.height, p.fps, p.bitrate
	}
	if e.Advanced == nil {
		return o
	}
	a := *e.Advanced
	set(&o.Width, a.Width)
	set(&o.Height, a.Height)
	set(&o.Framerate, a.Framerate)
	set(&o.VideoBitrate, a.VideoBitrate)
	set(&o.AudioBitrate, a.AudioBitrate)
	set(&o.AudioFrequency, a.AudioFrequency)
	set(&o.KeyFrameInterval, a.KeyFrameInterval)
	return o
}

func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

// KeyFrames gives KeyFrameInterval as a duration.
func (o EncodingOptions) KeyFrames() time.Duration {
	return time.Duration(o.KeyFrameInterval * float64(time.Second))
}
