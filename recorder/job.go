package recorder

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// Job is what a control plane asks for: one source, one encoding, some outputs
// and limits. Its JSON form is the public contract of docs/queue.md; names are
// LiveKit's wherever the meaning is the same.
type Job struct {
	// ID names the job, 1 to 64 characters of [A-Za-z0-9_-]. Made when empty.
	ID string `json:"id,omitempty"`

	Source
	Encoding

	// AudioOnly records no picture; VideoOnly records no sound.
	AudioOnly bool `json:"audio_only,omitempty"`
	VideoOnly bool `json:"video_only,omitempty"`

	// Files are the file outputs, at most MaxFiles.
	Files []FileOutput `json:"file_outputs,omitempty"`
	// Streams are the live outputs, at most MaxStreamURLs URLs in all.
	Streams []StreamOutput `json:"stream_outputs,omitempty"`

	Limits Limits `json:"limits,omitzero"`
	// Metadata is kept with the job and given back in results; at most 64 entries.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// How much one job may ask for.
const (
	MaxStreamURLs = 3
	MaxFiles      = 4
)

// Source is a room or a web page: exactly one of RoomName and URL is set.
type Source struct {
	// RoomName is a LiveKit room, shown by a template page.
	RoomName string `json:"room_name,omitempty"`
	// Layout is handed to the template page; Template is another name for it.
	// Empty is LayoutName.
	Layout   string `json:"layout,omitempty"`
	Template string `json:"template,omitempty"`
	// CustomBaseURL is the template page (http, https). Its query and fragment are
	// kept. Empty is the built-in template.
	CustomBaseURL string `json:"custom_base_url,omitempty"`
	// LiveKitURL is handed to the template page as url= (ws, wss). Worker's own when empty.
	LiveKitURL string `json:"livekit_url,omitempty"`
	// Token is handed to the template page as token=; made by the worker when empty. A secret.
	Token string `json:"token,omitempty"`

	// Identity is the one participant to record, with the built-in template.
	// ScreenShare narrows that to the camera and microphone (false) or to the screen
	// and its sound (true); unset, a screen takes the stage when there is one.
	Identity    string `json:"identity,omitempty"`
	ScreenShare *bool  `json:"screen_share,omitempty"`
	// AudioTrackID and VideoTrackID are the track ids (TR_…) to record, with the
	// built-in template.
	AudioTrackID string `json:"audio_track_id,omitempty"`
	VideoTrackID string `json:"video_track_id,omitempty"`

	// URL is a web page (http, https) that is recorded as it is.
	URL string `json:"url,omitempty"`
	// AwaitStartSignal makes a web page wait for START_RECORDING; without it a
	// page is recorded from its load on. Rooms always wait.
	AwaitStartSignal bool `json:"await_start_signal,omitempty"`
}

// AwaitsStart reports whether the recording begins with START_RECORDING.
func (s Source) AwaitsStart() bool { return s.RoomName != "" || s.AwaitStartSignal }

// FileOutput is one file. What it holds follows from the path's extension:
// .mp4 (H.264 + AAC), .webm (VP8 + Opus), .ogg (Opus), .mp3.
type FileOutput struct {
	// Filepath may hold {room_name}, {room_id}, {time}, {utc} and {id}; a path that
	// ends in "/" gets a generated name. Relative, and never leaves its storage.
	Filepath string `json:"filepath,omitempty"`
	// DisableManifest leaves out <filepath>.json.
	DisableManifest bool `json:"disable_manifest,omitempty"`
	// S3 is a bucket of the job's own; UploadURL a presigned URL for HTTP PUT. With
	// neither, the worker's storage is used.
	S3        *S3Upload `json:"s3,omitempty"`
	UploadURL string    `json:"upload_url,omitempty"`
}

// S3Upload is a bucket and how to reach it, spelled as in LiveKit's S3Upload.
type S3Upload struct {
	AccessKey          string            `json:"access_key,omitempty"`
	Secret             string            `json:"secret,omitempty"`
	SessionToken       string            `json:"session_token,omitempty"`
	Region             string            `json:"region,omitempty"`
	Endpoint           string            `json:"endpoint,omitempty"`
	Bucket             string            `json:"bucket"`
	ForcePathStyle     bool              `json:"force_path_style,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	Tagging            string            `json:"tagging,omitempty"` // "key=value&key2=value2"
	ContentDisposition string            `json:"content_disposition,omitempty"`
}

// StreamOutput is a list of ingest URLs (rtmp, rtmps). Every URL is a secret,
// because its last part is the stream key.
type StreamOutput struct {
	URLs []string `json:"urls"`
}

// Limits bound a job. Zero means the default.
type Limits struct {
	// MaxDuration ends the recording, measured from its first frame.
	MaxDuration Duration `json:"max_duration,omitzero"`
	// MaxSize ends the recording when its largest file reaches so many bytes.
	MaxSize int64 `json:"max_size,omitempty"`
	// StartTimeout bounds one wait for the page to load and log START_RECORDING. Default 30 s.
	StartTimeout Duration `json:"start_timeout,omitzero"`
	// EmptyTimeout ends the recording of a room when nobody, or not the one
	// participant that is recorded, has been in it for so long. 1 s to 24 h, default 20 s.
	EmptyTimeout Duration `json:"empty_timeout,omitzero"`
	// ReloadAttempts is how often a page that fails or crashes is loaded again. Default 2.
	ReloadAttempts *int `json:"reload_attempts,omitempty"`
	// StreamTimeout gives a stream URL up after it failed for so long without a
	// break. Zero: never while the recording runs.
	StreamTimeout Duration `json:"stream_timeout,omitzero"`
}

// The defaults of Limits.
const (
	DefaultStartTimeout   = 30 * time.Second
	DefaultEmptyTimeout   = 20 * time.Second
	DefaultReloadAttempts = 2
)

// Start gives StartTimeout or its default.
func (l Limits) Start() time.Duration {
	if l.StartTimeout > 0 {
		return time.Duration(l.StartTimeout)
	}
	return DefaultStartTimeout
}

// Empty gives EmptyTimeout or its default.
func (l Limits) Empty() time.Duration {
	if l.EmptyTimeout > 0 {
		return time.Duration(l.EmptyTimeout)
	}
	return DefaultEmptyTimeout
}

// Reloads gives ReloadAttempts or its default.
func (l Limits) Reloads() int {
	if l.ReloadAttempts != nil {
		return *l.ReloadAttempts
	}
	return DefaultReloadAttempts
}

// openTimeout is how long a session and a pipeline may take to come up: what is
// not there by then hangs.
const openTimeout = 30 * time.Second

// Starting is the longest time from a recording's process to its first frame:
// session, the room, every load of the page, and the first frame itself.
func (l Limits) Starting() time.Duration {
	return openTimeout + l.Start()*time.Duration(l.Reloads()+3)
}

// StreamURLs lists every ingest URL of the job in order.
func (j Job) StreamURLs() []string {
	var urls []string
	for _, s := range j.Streams {
		urls = append(urls, s.URLs...)
	}
	return urls
}

// Clone gives a copy that shares nothing with j.
func (j Job) Clone() Job {
	c := j
	c.Files = append([]FileOutput(nil), j.Files...)
	for i, f := range c.Files {
		if f.S3 != nil {
			s3 := *f.S3
			s3.Metadata = maps.Clone(s3.Metadata)
			c.Files[i].S3 = &s3
		}
	}
	c.Streams = append([]StreamOutput(nil), j.Streams...)
	for i, s := range c.Streams {
		c.Streams[i].URLs = append([]string(nil), s.URLs...)
	}
	c.Metadata = maps.Clone(j.Metadata)
	if j.Advanced != nil {
		advanced := *j.Advanced
		c.Advanced = &advanced
	}
	if j.ScreenShare != nil {
		screen := *j.ScreenShare
		c.ScreenShare = &screen
	}
	if j.Limits.ReloadAttempts != nil {
		attempts := *j.Limits.ReloadAttempts
		c.Limits.ReloadAttempts = &attempts
	}
	return c
}

// Duration is a time.Duration that reads "1h30m" and a number of seconds, and
// writes the former.
type Duration time.Duration

// Std gives the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes "1h30m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "1h30m", or a bare number of seconds.
func (d *Duration) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if secs, err := strconv.ParseFloat(s, 64); err == nil {
		if secs < -1e9 || secs > 1e9 || secs != secs {
			return fmt.Errorf("%q is not a duration: give a number of seconds below 1e9, or a text such as \"1h30m\"", s)
		}
		*d = Duration(secs * float64(time.Second))
		return nil
	}
	std, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it as \"90s\", \"1h30m\" or a number of seconds", s)
	}
	*d = Duration(std)
	return nil
}

// UnmarshalJSON reads a text or a number of seconds; null changes nothing.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var s string
	if json.Unmarshal(data, &s) == nil {
		return d.UnmarshalText([]byte(s))
	}
	return d.UnmarshalText(data)
}
