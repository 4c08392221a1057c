package recorder

import (
	"context"
	"time"
)

// Queue hands jobs to workers. Implemented by recorder/queue.
type Queue interface {
	// Enqueue stores a valid job. ErrConflict when its id exists.
	Enqueue(ctx context.Context, job Job) error
	// Claim takes one job: leases that expired before new work. It waits until
	// there is one or ctx is done. Entries that are no valid job go to the
	// dead-letter stream inside Claim and never come out of it.
	Claim(ctx context.Context) (Lease, error)
	// Adopt takes the job of a recording this worker's spool holds: when the lease
	// lapsed or belongs to an earlier life of this worker. ErrNotFound for a job
	// nobody knows, ErrConflict for one that ended or that another worker has.
	Adopt(ctx context.Context, id string) (Lease, error)
	// Amend changes the files, segments and images of a job that ended to those of
	// late, which arrived after all. Others stay.
	Amend(ctx context.Context, id string, late Recording) error
}

// Placer is a Queue that gives a new job straight to this worker: it is enqueued
// and claimed in one step, so that no other worker gets it while this one lives.
type Placer interface {
	// Place validates and takes. ErrConflict when the id exists, or a duplicate with
	// Job.RejectDuplicates.
	Place(ctx context.Context, job Job) (Lease, error)
}

// Reaper is a Queue that gives out jobs which a lost worker recorded and which no other one went on
// with in time: none was there, or all were busy.
type Reaper interface {
	// Reap waits for such a job. It is ending: not to be recorded, but to be ended when what was
	// uploaded is rescued, which takes no slot. An error only when ctx is done.
	Reap(ctx context.Context) (Lease, error)
}

// Outbox brings the events of a pool to receivers: at least once, a job's in
// their order, across restarts of everything. Any number of processes may work
// on one at a time. Implemented by recorder/queue.
type Outbox interface {
	// Next waits for the oldest event of some job that is due for one of its
	// receivers, and holds it for a while: whoever dies over it leaves it to others.
	Next(ctx context.Context) (Delivery, error)
}

// Delivery is one event on its way to one receiver. It ends with Done or Later;
// without either it comes again.
type Delivery interface {
	Event() Event
	// Receiver is who it is for: one that every event goes to (its name), or one of
	// the job's own Webhooks.
	Receiver() Receiver
	// Since is when the first try was; Tries counts them from 1.
	Since() time.Time
	Tries() int
	// Done ends it, whether it arrived or was given up; the job's next event follows.
	Done(ctx context.Context) error
	// Later puts it off; later events of the job wait for it.
	Later(ctx context.Context, pause time.Duration) error
}

// Receiver is one of an Outbox's receivers: Name or Webhook is set.
type Receiver struct {
	Name    string
	Webhook Webhook
}

// Lease is the right to work on one job. It is renewed until Finish, Release,
// Abandon or Lost. Safe for concurrent use.
type Lease interface {
	Job() Job
	// Recording is the state as it was stored when the lease was taken: after a
	// takeover it tells how far the last worker came. Attempt and Worker are this
	// lease's own.
	Recording() Recording
	// Lost is closed when another worker may own the job.
	Lost() <-chan struct{}
	// Commands gives stop and update requests, those from before the lease
	// included. Closed when the lease ends.
	Commands() <-chan Command
	// Report stores a new state and tells the event stream. ErrLeaseLost when the
	// job belongs to another worker now. When Redis is away it is kept and stored
	// later; the newest state wins.
	Report(ctx context.Context, rec Recording) error
	// Finish stores the result, appends the recording_ended event, then
	// acknowledges: exactly once per job, ErrLeaseLost otherwise.
	Finish(ctx context.Context, rec Recording) error
	// Release gives the job back for another try: after a pause, or at once without
	// a cause. Where the try counts and was one too many, it ends the job as failed
	// and dead-letters it; one of which parts were recorded is ending then, and claimed to be
	// ended when what was uploaded is rescued.
	Release(ctx context.Context, cause error, counts bool) error
	// Abandon stops renewing without changing the job, so that whoever holds its
	// spool can adopt it.
	Abandon()
}

// Journal is a Lease that keeps short notes beside the job's state, for whoever has the
// job next. They go when the job's state goes.
type Journal interface {
	// Note keeps a text under a name, in place of an older one; "" removes it. It does
	// not wait: while Redis is away, notes are kept and stored later, the newest of each
	// name. Those of a lease that is lost are dropped. No secrets.
	Note(name, text string)
	// Notes gives what all leases of the job noted that have reached Redis.
	Notes(ctx context.Context) (map[string]string, error)
}

// CommandKind is what a command asks for.
type CommandKind string

// The commands.
const (
	CommandStop   CommandKind = "stop"
	CommandUpdate CommandKind = "update"
)

// Command is a request to a running job.
type Command struct {
	Kind CommandKind `json:"command"`
	// Reason of a stop; EndStopped when empty or not OfClient.
	Reason EndReason `json:"reason,omitempty"`
	// Now makes a stop skip every wait that is not needed for a whole file.
	Now    bool   `json:"now,omitempty"`
	Update Update `json:"update,omitzero"`
}

// Update changes a running job.
type Update struct {
	AddStreamURLs    []string `json:"add_stream_urls,omitempty"`
	RemoveStreamURLs []string `json:"remove_stream_urls,omitempty"` // URLs or stream ids
	Layout           string   `json:"layout,omitempty"`             // of a room's template page
	// Pause leaves what follows out of files, segments and images, and shows streams a
	// slate, until an update with false. nil changes nothing.
	Pause *bool `json:"pause,omitempty"`
}

// Filter narrows a List. Zero lists everything.
type Filter struct {
	IDs      []string
	RoomName string
	Active   bool // only jobs that did not end
	Limit    int  // newest first; 0 is 100
	// Before gives only jobs that were created before (ns since the Unix epoch): the
	// CreatedAt of a page's last job asks for the next page. 0 is all.
	Before int64
}

// Controller is the one door of those who start, stop and watch jobs. Implemented
// by recorder/queue.
type Controller interface {
	// Start validates and enqueues; the answer carries the id and the files' names,
	// but for the ".partN" of a takeover.
	Start(ctx context.Context, job Job) (Recording, error)
	// Stop ends a job; one that no worker has yet is aborted at once. why is one of
	// those that are OfClient, or empty. A second stop skips every wait that is not
	// needed for a whole file.
	Stop(ctx context.Context, id string, why EndReason) error
	Update(ctx context.Context, id string, u Update) error
	List(ctx context.Context, f Filter) ([]Recording, error)
	// Watch calls yield for every event after the given event id ("" is: from now
	// on) until ctx is done or yield returns false.
	Watch(ctx context.Context, after string, yield func(Event) bool) error
}

// Marker is what a page logs to begin or end the recording.
type Marker string

// The markers of the template contract. MarkerLoaded is the page's load event.
const (
	MarkerLoaded Marker = "LOADED"
	MarkerStart  Marker = "START_RECORDING"
	MarkerEnd    Marker = "END_RECORDING"
)

// SessionSpec is what a session must be able to show.
type SessionSpec struct {
	Width, Height int    // pixels
	Silent        bool   // no sound is recorded
	Dir           string // where the job's log and screenshots go; exists
}

// Session is one X display, one PulseAudio server and one Chrome. Implemented
// by recorder/capture.
type Session interface {
	// Navigate loads a page, for the first time or again. An Error of
	// CodePageLoad names the network error or the HTTP status.
	Navigate(ctx context.Context, url string) error
	// Wait returns when the page of the last Navigate has logged m, even if that was before
	// the call. Otherwise an Error: CodePageError with the text of div.error (only
	// while waiting for MarkerStart), ErrPageCrashed, ErrPageClosed, ErrSessionDied as soon as any
	// process is gone, or ctx's cause.
	Wait(ctx context.Context, m Marker) error
	// Inputs says where picture and sound can be had.
	Inputs() Inputs
	// Diagnose collects what the page showed and takes a screenshot if it can.
	Diagnose(ctx context.Context) Diagnosis
	// Close returns when every process, socket and directory of the session is gone.
	Close() error
}

// Reviver is a Session that can go on after its browser died.
type Reviver interface {
	// Revive ends what is left of the browser and starts another one on the same display
	// and sound server, for Navigate. ErrSessionDied when one of these is gone as well.
	Revive(ctx context.Context) error
}

// Died is the cause of an ErrSessionDied: EndBrowserDied, EndDisplayDied or
// EndSoundDied.
type Died EndReason

func (d Died) Error() string { return string(d) }

// Noter is a Session that tells what the page logged beside a marker: a word of
// a-z and _, or nothing.
type Noter interface {
	Note(m Marker) string
}

// Inputs are the addresses of a session's display and sound server.
type Inputs struct {
	Display     string // ":7"
	XAuthority  string // path of the cookie file
	PulseServer string // "unix:/…"
	PulseSource string // name of the monitor source
}

// OutputKind is the trade of an output.
type OutputKind string

// The kinds of output.
const (
	KindFile     OutputKind = "file"
	KindStream   OutputKind = "stream"
	KindSegments OutputKind = "segments"
	KindImages   OutputKind = "images"
)

// Output is one branch of a pipeline.
type Output struct {
	ID   string
	Kind OutputKind
	// Path of a file in the spool; its extension chooses container and codecs.
	Path string
	// URL of a stream. A secret.
	URL string
	// Dir is where a series is written; names in Segments and Images are resolved
	// paths below it.
	Dir      string
	Segments SegmentOutput
	Images   ImageOutput
	// Earlier is the text of the playlist that segments continue, after a discontinuity;
	// "" for none.
	Earlier string
	// Before is how many images earlier parts have taken, where the numbers go on.
	Before int64
	// GiveUp ends a stream that failed for so long without a break; 0 is never.
	GiveUp time.Duration
}

// PipelineSpec is what to capture and how to encode it.
type PipelineSpec struct {
	Inputs    Inputs
	Options   EncodingOptions
	AudioOnly bool
	VideoOnly bool
	Outputs   []Output
}

// Pipeline turns a session's picture and sound into outputs. Implemented by
// pipeline.
type Pipeline interface {
	// Run captures from the call on, but writes nothing before Begin. It returns
	// when every output is finalised: after ctx is done (nil, for that is how a
	// recording ends) or after an error that ends it. See Hurrier for a harder end.
	Run(ctx context.Context) error
	// Begin lets pictures and sound through to the outputs; the next captured frame is the
	// first of every output. It waits until capture runs.
	Begin(ctx context.Context) error
	// Add and Remove change the streams while running. Remove returns when the
	// stream is closed.
	Add(ctx context.Context, o Output) error
	Remove(ctx context.Context, id string) error
	// Snapshot gives the account of pipeline, files and streams. Cheap.
	Snapshot() Snapshot
}

// Holder is a Pipeline that can hold its last picture while the page behind it
// is not to be seen (a crashed tab). Sound goes on.
type Holder interface {
	Hold(on bool)
}

// Pauser is a Pipeline that can leave time out of what it keeps.
type Pauser interface {
	// Pause keeps picture and sound from files, segments and images, and shows streams a
	// slate in silence. false goes on with the next key frame, which is asked for; files
	// show no gap. It does not wait, and may be called before Begin.
	Pause(on bool)
}

// Snapshot is a pipeline's account of itself.
type Snapshot struct {
	Stats   Stats
	Files   []OutputFile
	Streams []StreamResult
	Series  []OutputSeries
}

// OutputSeries is a pipeline's account of segments or images.
type OutputSeries struct {
	ID        string
	Files     int64 // closed ones
	Bytes     int64
	Duration  time.Duration
	StartedAt time.Time // wall clock of the first frame
	Err       error     // why nothing more is written, while the recording goes on
}

// OutputFile is a pipeline's account of one file.
type OutputFile struct {
	ID        string
	Bytes     int64
	Duration  time.Duration
	StartedAt time.Time // wall clock of the first frame
	Final     bool      // finalised: an ordinary, seekable file
	Codecs    []string
}

// Runner makes the media of one job in dir and answers with what came of it:
// Recorder does it in this process, recorder/child in a process of its own.
// ctx done means: finalise and return. commands may be nil.
type Runner interface {
	Run(ctx context.Context, task Task, commands <-chan Command, report func(Recording)) Recording
}

// Task is one attempt at one job.
type Task struct {
	Job       Job       `json:"job"`
	Recording Recording `json:"recording"` // as claimed: attempt, part, created_at, file names
	Dir       string    `json:"dir"`       // the spool entry; exists
	// Pass lets the recording into its room. Never kept on disk.
	Pass Pass `json:"pass,omitzero"`
	// Playlists are the texts of the playlists that the segments outputs continue, "" or
	// none for those that begin.
	Playlists []string `json:"playlists,omitempty"`
	// OutputDir takes the file outputs that name no storage, in place of the
	// spool's own: an absolute path. Set by `tapedeck record`, never by a job.
	OutputDir string `json:"output_dir,omitempty"`
}

// Spool keeps what is recorded until it is delivered and verified. Implemented
// by recorder/upload.
type Spool interface {
	// Create makes the entry of one attempt and locks it for this process.
	Create(task Task) (SpoolEntry, error)
	// Left lists the entries that earlier processes left, nobody has locked and
	// nobody writes media to, and locks them.
	Left() ([]SpoolEntry, error)
}

// SpoolEntry is one attempt's directory in the spool.
type SpoolEntry interface {
	// Task as Create was given it, with Dir set and Recording as last saved.
	Task() Task
	// Save keeps the recording's state beside the media, synced to disk.
	Save(rec Recording) error
	// Deliver uploads and verifies every file of rec that is not delivered yet, with
	// back-off, until all are delivered or refused, or ctx is done. It saves and reports each change. A file is
	// removed from the spool only when its copy is verified.
	Deliver(ctx context.Context, rec Recording, report func(Recording)) Recording
	// Free removes the entry when nothing undelivered is left in it. Close only
	// unlocks it.
	Free() error
	Close() error
}

// Follower is a SpoolEntry that delivers files as they grow, and segments and images
// as they close, while the recording goes on. What it could not deliver is left to
// Deliver.
type Follower interface {
	// Follow works until ctx is done. begun is the recording as it began. report gets
	// it with the names and locations of its series, and what keeps its files from their
	// storage (FileResult.Error), whenever one of these changed; it
	// is called by one goroutine at a time and knows nothing of the rest. journal takes what
	// another worker needs to go on with the uploads; it may be nil.
	Follow(ctx context.Context, begun Recording, journal Journal, report func(Recording))
}

// Lister is a SpoolEntry that gives its segments' playlists for another part to go on in.
type Lister interface {
	// Playlists gives the texts of the playlists of rec's segments outputs, without an end;
	// "" for one that cannot be continued, for nobody knows yet where it will be. They may
	// name segments that are not delivered yet: the uploads of the part that goes on wait
	// for them, and Deliver leaves the playlists of an output that is Continued alone.
	Playlists(rec Recording) []string
}

// Rescuer is a Spool that finishes the uploads of a worker that is lost, from its notes
// and from what the storages have.
type Rescuer interface {
	// Rescue completes what it can. rec is the recording as the lost worker last reported
	// it. The answer has its files and series as they are now: delivered and Partial, or
	// pending with an Error that says where they are; and the texts of its segments'
	// playlists in the storage, "" for one that cannot be continued.
	//
	// rec.EndReason says which of both it is: where it is set, the job is concluded, and the
	// playlists get their end; where it is not, another part will go on in them, and they are
	// marked as its own.
	Rescue(ctx context.Context, job Job, rec Recording, notes map[string]string) (rescued Recording, playlists []string)
}

// Gauge is a Spool that knows the room on its disk.
type Gauge interface {
	// Room gives the bytes that may still be written.
	Room() (int64, error)
}

// Tally counts what becomes of a worker's recordings, for metrics. Safe for concurrent use.
type Tally interface {
	// Incident counts something that went wrong, whether or not the recording went on.
	Incident(reason EndReason)
	// Ended counts a job that this worker ended.
	Ended(rec Recording)
}

// MediaLock is the file in a task's directory that the process which writes the
// media holds a flock on. A child outlives its worker's death for as long as it
// takes to finalise: until then its entry must be left alone.
const MediaLock = "media.lock"

// MediaName is the name of file output i of a task within its spool entry: the
// pipeline writes it, the spool uploads it.
func MediaName(i int, f FileResult) string {
	return "media-" + string(rune('0'+i)) + extension(f.Filename)
}
