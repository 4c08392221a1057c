package recorder

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
	// Segments are the HLS outputs, Images the series of pictures: at most MaxSeries
	// of each.
	Segments []SegmentOutput `json:"segment_outputs,omitempty"`
	Images   []ImageOutput   `json:"image_outputs,omitempty"`
	// Backup takes what an output's own storage refuses. The worker's when unset.
	Backup *Storage `json:"backup_storage,omitempty"`

	Limits Limits `json:"limits,omitzero"`
	// Metadata is kept with the job and given back in results; at most 64 entries.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Webhooks are told of this job's events beside those of the worker's
	// configuration; at most MaxWebhooks.
	Webhooks []Webhook `json:"webhooks,omitempty"`
	// RejectDuplicates refuses the job when another one with the same source, layout
	// and encoding runs or waits.
	RejectDuplicates bool `json:"reject_duplicates,omitempty"`
	// OnWorkerLoss says what becomes of a recording whose worker, display, sound server
	// or pipeline is lost: LossResume when empty.
	OnWorkerLoss OnLoss `json:"on_worker_loss,omitempty"`
	// Origin is the request as the door it came through knows it, without secrets:
	// opaque here, given back in Recording.Origin. At most 64 KiB.
	Origin json.RawMessage `json:"origin,omitempty"`
}

// OnLoss says what becomes of a recording that is cut off.
type OnLoss string

// What may become of it. What was recorded is delivered either way.
const (
	// LossResume records on as a further part, unless it is a room that is over.
	LossResume OnLoss = "resume"
	LossEnd    OnLoss = "end"
)

// Webhook is a receiver of a job's events.
type Webhook struct {
	// URL (http, https) may hold a secret.
	URL string `json:"url"`
	// Key names the API key whose secret signs; the worker's own when empty.
	Key string `json:"signing_key,omitempty"`
	// Events are the webhook events that it is told (egress_started, egress_updated,
	// egress_ended), with commas between; all when empty.
	Events string `json:"events,omitempty"`
}

// Wants reports whether the receiver is told of a webhook event.
func (w Webhook) Wants(event string) bool {
	return w.Events == "" || slices.Contains(strings.Split(w.Events, ","), event)
}

// How much one job may ask for.
const (
	MaxStreamURLs = 3
	MaxFiles      = 4
	MaxSeries     = 2
	MaxWebhooks   = 4
)

// Source is a room or a web page: exactly one of RoomName and URL is set.
type Source struct {
	// RoomName is a LiveKit room, shown by a template page. RoomID is its sid (RM_…),
	// where whoever asks knows it: it fills {room_id}.
	RoomName string `json:"room_name,omitempty"`
	RoomID   string `json:"room_id,omitempty"`
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
	// Storage is the output's own; UploadURL a presigned URL for HTTP PUT. With
	// neither, the worker's storage is used.
	Storage
	UploadURL string `json:"upload_url,omitempty"`
}

// StreamOutput is a list of ingest URLs (rtmp, rtmps, srt, mux://KEY, twitch://KEY).
// Every URL is a secret, because its last part is the stream key.
type StreamOutput struct {
	URLs []string `json:"urls"`
}

// Limits bound a job. Zero means the default.
type Limits struct {
	// MaxDuration ends the recording, measured from its first frame.
	MaxDuration Duration `json:"max_duration,omitzero"`
	// MaxSize ends the recording when its largest file or series reaches so many bytes.
	MaxSize int64 `json:"max_size,omitempty"`
	// StartTimeout bounds one wait for the page to load and log START_RECORDING. Default 30 s.
	StartTimeout Duration `json:"start_timeout,omitzero"`
	// EmptyTimeout ends the recording of a room when nobody, or not the one
	// participant that is recorded, has been in it for so long. 1 s to 24 h, default 20 s.
	EmptyTimeout Duration `json:"empty_timeout,omitzero"`
	// ReloadAttempts is how often a page that fails or crashes is loaded again. Default 2.
	ReloadAttempts *int `json:"reload_attempts,omitempty"`
	// StreamTimeout gives a stream URL up after it failed for so long without a
	// break. Zero: never while the recording runs, but after DefaultStreamTimeout in a
	// job that has nothing but streams. Such a job ends when every stream failed.
	StreamTimeout Duration `json:"stream_timeout,omitzero"`
}

// The defaults of Limits.
const (
	DefaultStartTimeout   = 30 * time.Second
	DefaultEmptyTimeout   = 20 * time.Second
	DefaultReloadAttempts = 2
	// DefaultStreamTimeout is for jobs without files, segments and images: one that
	// reaches no server would hold a worker's slot for nothing.
	DefaultStreamTimeout = 2 * time.Minute
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

// streamsAlone reports whether the job has no output but streams: what it records
// is lost when they fail.
func (j Job) streamsAlone() bool { return len(j.Files)+len(j.Segments)+len(j.Images) == 0 }

// streamTimeout gives Limits.StreamTimeout or its default; 0 is never.
func (j Job) streamTimeout() time.Duration {
	if j.Limits.StreamTimeout == 0 && j.streamsAlone() {
		return DefaultStreamTimeout
	}
	return j.Limits.StreamTimeout.Std()
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
		c.Files[i].Storage = f.clone()
	}
	c.Segments = append([]SegmentOutput(nil), j.Segments...)
	for i, o := range c.Segments {
		c.Segments[i].Storage = o.clone()
	}
	c.Images = append([]ImageOutput(nil), j.Images...)
	for i, o := range c.Images {
		c.Images[i].Storage = o.clone()
	}
	if j.Backup != nil {
		backup := j.Backup.clone()
		c.Backup = &backup
	}
	c.Webhooks = append([]Webhook(nil), j.Webhooks...)
	c.Origin = append(json.RawMessage(nil), j.Origin...)
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
