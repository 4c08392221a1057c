package recorder

import (
	"encoding/json"
	"slices"
	"time"
)

// Status is where a recording is on its way.
type Status string

// The statuses. From starting on they are LiveKit's EgressStatus by name.
const (
	StatusQueued       Status = "queued"        // in the stream, no worker has it
	StatusStarting     Status = "starting"      // a worker opens the page
	StatusActive       Status = "active"        // frames are written
	StatusEnding       Status = "ending"        // finalised or being delivered
	StatusComplete     Status = "complete"      // ended as asked; every output arrived
	StatusFailed       Status = "failed"        // see Error; what there is was delivered
	StatusAborted      Status = "aborted"       // stopped before there was a first frame
	StatusLimitReached Status = "limit_reached" // ended by max_duration or max_size; delivered
)

// Ended reports whether nothing follows this status.
func (s Status) Ended() bool {
	switch s {
	case StatusComplete, StatusFailed, StatusAborted, StatusLimitReached:
		return true
	default:
		return false
	}
}

// Follows reports whether next is a legal status after s. A takeover after a
// worker's death leads back to starting; a release back to queued.
func (s Status) Follows(next Status) bool {
	return slices.Contains(transitions(s), next)
}

func transitions(s Status) []Status {
	switch s {
	case StatusQueued:
		return []Status{StatusStarting, StatusAborted, StatusFailed}
	case StatusStarting:
		return []Status{StatusQueued, StatusStarting, StatusActive, StatusEnding, StatusAborted, StatusFailed}
	case StatusActive:
		return []Status{StatusStarting, StatusEnding, StatusFailed}
	case StatusEnding:
		return []Status{StatusComplete, StatusFailed, StatusAborted, StatusLimitReached}
	default:
		return nil
	}
}

// EndReason says why a recording ended.
type EndReason string

// The end reasons: a bounded list, fit for a metric label.
const (
	EndSignal         EndReason = "end_recording"    // the page logged END_RECORDING
	EndRoomClosed     EndReason = "room_closed"      // the room was deleted or closed by the server
	EndRoomEmpty      EndReason = "room_empty"       // nobody was there for Limits.EmptyTimeout
	EndRemoved        EndReason = "recorder_removed" // somebody removed the recorder from the room
	EndConnectionLost EndReason = "connection_lost"  // the LiveKit server was gone for too long
	EndStopped        EndReason = "stopped"          // a client's stop
	EndMaxDuration    EndReason = "max_duration"     // Limits.MaxDuration
	EndMaxSize        EndReason = "max_size"         // Limits.MaxSize
	EndDiskFull       EndReason = "disk_full"        // the spool's disk was nearly full; the file is whole
	EndStartFailed    EndReason = "start_failed"     // the page did not load or start
	EndPageCrashed    EndReason = "page_crashed"     // the tab crashed and reloads did not help
	EndPageClosed     EndReason = "page_closed"      // the tab is gone
	EndSessionDied    EndReason = "session_died"     // Chrome, Xvfb or PulseAudio died or did not come up
	EndBrowserDied    EndReason = "browser_died"     // Chrome died, and a new one did not help
	EndDisplayDied    EndReason = "display_died"     // Xvfb died
	EndSoundDied      EndReason = "sound_died"       // PulseAudio died
	EndPipeline       EndReason = "pipeline_error"   // GStreamer failed
	EndStreamsFailed  EndReason = "streams_failed"   // every stream was given up, and there is no other output
	EndDrained        EndReason = "drained"          // the worker shut down
	EndChildDied      EndReason = "child_died"       // the recording's process died
	EndWorkerLost     EndReason = "worker_lost"      // the worker died and nobody could record on
	EndLeaseLost      EndReason = "lease_lost"       // another worker owns the job
	EndInvalid        EndReason = "invalid_job"      // refused
	EndTooManyTries   EndReason = "too_many_tries"   // released or lost too often
)

// OfClient reports whether a client may name this as the reason of its stop. The
// others say what only a worker knows, and decide what becomes of the job.
func (r EndReason) OfClient() bool {
	switch r {
	case EndStopped, EndSignal, EndMaxDuration, EndMaxSize:
		return true
	default:
		return false
	}
}

// ofPage reports whether a page may name this beside END_RECORDING.
func (r EndReason) ofPage() bool {
	switch r {
	case EndRoomClosed, EndRoomEmpty, EndRemoved, EndConnectionLost:
		return true
	default:
		return false
	}
}

// Recording is the public state of a job: what list shows, events carry and
// the state hash keeps. It never holds a secret.
type Recording struct {
	ID       string `json:"id"`
	RoomName string `json:"room_name,omitempty"`
	RoomID   string `json:"room_id,omitempty"` // the room's sid, once it is known
	URL      string `json:"url,omitempty"`     // the page, redacted
	Layout   string `json:"layout,omitempty"`
	Status   Status `json:"status"`
	// Worker is the id of the worker that has or had the job; Attempt counts claims from 1.
	Worker  string `json:"worker,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	// Part is 1 for the first recording of the job, more after a takeover.
	Part int `json:"part,omitempty"`

	// Times are ns since the Unix epoch, 0 for not yet. StartedAt is the first frame's.
	CreatedAt int64 `json:"created_at,omitempty"`
	StartedAt int64 `json:"started_at,omitempty"`
	EndedAt   int64 `json:"ended_at,omitempty"`
	UpdatedAt int64 `json:"updated_at,omitempty"`

	EndReason EndReason  `json:"end_reason,omitempty"`
	Error     *Error     `json:"error,omitempty"`
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`

	Files   []FileResult   `json:"file_results,omitempty"`
	Streams []StreamResult `json:"stream_results,omitempty"`

	Segments []SegmentsResult `json:"segment_results,omitempty"`
	Images   []ImagesResult   `json:"image_results,omitempty"`

	// Earlier are the parts of the job that were recorded before this one, oldest
	// first: a worker was lost, or a display, a sound server or a pipeline died.
	Earlier []Part `json:"earlier_parts,omitempty"`
	// Incidents are what went wrong on the way and was lived through, oldest first; the
	// newest MostIncidents.
	Incidents []Incident `json:"incidents,omitempty"`
	// Pauses are the spans that clients left out of files, segments and images. The
	// last one has no end while the recording is paused.
	Pauses []Span `json:"pauses,omitempty"`
	// Orphan says of what is to be delivered that its job is another worker's by now, or
	// nobody's: it goes beside what is there and replaces nothing. Told by whoever delivers.
	Orphan bool `json:"-"`
	// Unbegun says of what is to be delivered that parts up to this number were to follow it, and nobody
	// has begun one: what a storage says of their going on in a playlist stands for nobody. Told by
	// whoever delivers; 0 for none, and not meant where it is an Orphan.
	Unbegun int `json:"-"`

	Stats Stats `json:"stats,omitzero"`

	Metadata map[string]string `json:"metadata,omitempty"`
	Origin   json.RawMessage   `json:"origin,omitempty"` // of the job
}

// FileState is where a file is on its way.
type FileState string

// The states of a file.
const (
	FileRecording FileState = "recording" // growing in the spool
	FilePending   FileState = "pending"   // in the spool, waiting for its first or next upload
	FileUploading FileState = "uploading"
	FileDelivered FileState = "delivered" // verified at its location
	FileEmpty     FileState = "empty"     // nothing was recorded
	FileRefused   FileState = "refused"   // kept in the spool: storage refuses for good
)

// FileResult is one file output.
type FileResult struct {
	Filename string    `json:"filename"` // resolved path within the storage
	State    FileState `json:"state"`
	Location string    `json:"location,omitempty"` // an URL without its query, or a path
	Size     int64     `json:"size,omitempty"`     // bytes
	Duration int64     `json:"duration,omitempty"` // ns
	// StartedAt and EndedAt span the media, ns since the Unix epoch.
	StartedAt int64 `json:"started_at,omitempty"`
	EndedAt   int64 `json:"ended_at,omitempty"`
	// Partial says that the file was not finalised: it plays up to the crash.
	Partial bool `json:"partial,omitempty"`
	// SHA256 of the delivered file, hex.
	SHA256 string `json:"sha256,omitempty"`
	// ManifestLocation is where <filename>.json is; Backup says that the backup
	// storage has the file.
	ManifestLocation string `json:"manifest_location,omitempty"`
	Backup           bool   `json:"backup_storage_used,omitempty"`
	Retries          int    `json:"retries,omitempty"`
	Error            string `json:"error,omitempty"`
	// Codecs are "h264", "aac", … in the file's order; Width and Height in pixels.
	Codecs []string `json:"codecs,omitempty"`
	Width  int      `json:"width,omitempty"`
	Height int      `json:"height,omitempty"`
}

// StreamState is LiveKit's StreamInfo.Status plus what happens before it.
type StreamState string

// The states of a stream.
const (
	StreamConnecting StreamState = "connecting"
	StreamActive     StreamState = "active"
	StreamRetrying   StreamState = "retrying"
	StreamFinished   StreamState = "finished"
	StreamFailed     StreamState = "failed"
)

// StreamResult is one ingest URL.
type StreamResult struct {
	ID          string      `json:"id"`
	URL         string      `json:"url"` // redacted: rtmp://host/app/{abc...xyz}
	State       StreamState `json:"state"`
	StartedAt   int64       `json:"started_at,omitempty"`
	EndedAt     int64       `json:"ended_at,omitempty"`
	Duration    int64       `json:"duration,omitempty"` // ns sent
	Retries     int         `json:"retries,omitempty"`
	LastRetryAt int64       `json:"last_retry_at,omitempty"`
	// Dropped counts encoded video frames that were not sent.
	Dropped int64  `json:"dropped,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Stats is a pipeline's running account.
type Stats struct {
	Elapsed   Duration `json:"elapsed,omitzero"`     // since the first frame, media time
	FPS       float64  `json:"fps,omitempty"`        // captured over the last second
	Frames    int64    `json:"frames,omitempty"`     // encoded
	Dropped   int64    `json:"dropped,omitempty"`    // captured, not encoded
	Repeated  int64    `json:"repeated,omitempty"`   // encoded twice for want of a new one
	Bytes     int64    `json:"bytes,omitempty"`      // of the largest file or series
	AudioPeak float64  `json:"audio_peak,omitempty"` // dBFS over the last interval: -100 is silence, full scale -0.01, 0 no sound recorded
}

// Diagnosis is what a page showed when it failed to start or crashed.
type Diagnosis struct {
	URL        string   `json:"url,omitempty"`         // redacted
	HTTPStatus int      `json:"http_status,omitempty"` // of the last navigation, 0 for none
	NetError   string   `json:"net_error,omitempty"`   // such as net::ERR_CONNECTION_REFUSED
	PageError  string   `json:"page_error,omitempty"`  // text of div.error
	Console    []string `json:"console,omitempty"`     // last lines and exceptions, oldest first
	Screenshot string   `json:"screenshot,omitempty"`  // path beside the job's log
}

// NewRecording is the state of a job that was just accepted.
func NewRecording(job Job, now time.Time) Recording {
	rec := Recording{
		ID: job.ID, RoomName: job.RoomName, RoomID: job.RoomID, Layout: job.LayoutName(), Status: StatusQueued,
		URL: RedactURL(pageURL(job)), Part: 1,
		CreatedAt: now.UnixNano(), UpdatedAt: now.UnixNano(), Metadata: job.Metadata, Origin: job.Origin,
	}
	rec.begin(job)
	return rec
}

// begin lists the job's outputs as they are before the first frame. Their names
// follow from the job, CreatedAt and Part alone: whoever works a name out, and
// whenever, arrives at the one that was announced.
func (r *Recording) begin(job Job) {
	r.Files, r.Streams, r.Segments, r.Images = nil, nil, nil, nil
	opts := job.Options()
	for _, f := range job.Files {
		file := FileResult{
			Filename: ResolvePath(job, f.Filepath, time.Unix(0, r.CreatedAt), r.Part), State: FileRecording,
		}
		// Known from the start, so that a file which is cut off tells them too.
		file.Codecs = codecs(job, extension(file.Filename))
		if holdsPicture(job, extension(file.Filename)) {
			file.Width, file.Height = opts.Width, opts.Height
		}
		r.Files = append(r.Files, file)
	}
	at, fresh := time.Unix(0, r.CreatedAt), Series{State: FileRecording}
	for i := range job.Segments {
		o := r.SegmentsOf(job, i)
		r.Segments = append(r.Segments, SegmentsResult{PlaylistName: o.PlaylistName, LivePlaylistName: o.LivePlaylistName, Series: fresh})
	}
	for _, o := range job.Images {
		r.Images = append(r.Images, ImagesResult{FilenamePrefix: ResolveImages(job, o, at, r.Part).FilenamePrefix, Series: fresh})
	}
	for _, url := range job.StreamURLs() {
		r.Streams = append(r.Streams, StreamResult{ID: StreamID(url), URL: RedactStreamURL(url), State: StreamConnecting})
	}
}

func pageURL(job Job) string {
	if job.URL != "" {
		return job.URL
	}
	return job.CustomBaseURL
}

// Clone gives a copy that shares nothing with r that anybody changes.
func (r Recording) Clone() Recording {
	r.Files = slices.Clone(r.Files)
	r.Streams = slices.Clone(r.Streams)
	r.Segments = slices.Clone(r.Segments)
	r.Images = slices.Clone(r.Images)
	r.Earlier = cloneParts(r.Earlier)
	r.Incidents = slices.Clone(r.Incidents)
	r.Pauses = slices.Clone(r.Pauses)
	return r
}

// Fail sets the error and the end reason, keeping the first ones.
func (r *Recording) Fail(err error, code Code, reason EndReason) {
	if r.Error == nil {
		r.Error = AsError(err, code)
	}
	if r.EndReason == "" {
		r.EndReason = reason
	}
}
