package upload

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Storage is a place for finished recordings: a directory or one bucket, never
// both. The zero Storage is none.
type Storage struct {
	// Directory is an absolute path. It is made when it is missing.
	Directory string
	// S3 is a bucket. Without keys the AWS SDK's own chain finds them
	// (environment, shared files, container and instance roles).
	S3 *recorder.S3Upload
	// GCP is a bucket of Google Cloud Storage, Azure a container of Azure Blob
	// Storage, AliOSS a bucket of Alibaba Cloud OSS.
	GCP    *recorder.GCPUpload
	Azure  *recorder.AzureBlobUpload
	AliOSS *recorder.AliOSSUpload
	// Prefix goes before every name, such as "recordings/". Relative.
	Prefix string
	// Overwrite lets a recording replace another one of the same name. Without it
	// the newcomer is stored as name-2.mp4, name-3.mp4, …
	Overwrite bool
}

// Backoff is the wait between tries: Min, doubled each time up to Max, each
// wait made longer or shorter by at most Jitter of itself.
type Backoff struct {
	Min    time.Duration // default 1 s
	Max    time.Duration // default 60 s
	Jitter float64       // 0 to 1, default 0.3; negative is none
}

// Options is how a spool behaves. The zero value is fit for production but for
// Default, without which only jobs that bring their own storage are delivered.
type Options struct {
	// Default takes the file outputs that name neither S3 nor upload_url.
	Default Storage
	// Backup takes what an output's own storage refuses, for jobs that bring no
	// backup of their own. The zero Storage is none.
	Backup Storage
	// BackupAfter is how long a storage may fail without a success before the backup
	// takes over. One that refuses is given up after 3 tries. Default 1 min, and
	// GiveUpAfter where that is less.
	BackupAfter time.Duration
	// SendWithin is how long recorded media may wait for their upload part to fill, before what
	// there is of it is sent as a short one. Default 15 s.
	SendWithin time.Duration
	// Overwrite is Storage.Overwrite for the buckets that jobs bring themselves.
	Overwrite bool
	// Log gets what no caller is told: damaged entries and each failed try. Nil is silence.
	Log *zap.Logger
	// Backoff is the wait between tries of one file.
	Backoff Backoff
	// GiveUpAfter bounds how long one Deliver tries a file: then it is refused and
	// stays in the spool. Default 24 h; negative is never.
	GiveUpAfter time.Duration
	// Stall ends a transfer on which no byte moved for so long. Default 60 s.
	Stall time.Duration
	// Parallel is how many files upload at once, over all entries; as many of what
	// is left of segments and images at the end, and as many of each series while it
	// is recorded. Default 4.
	Parallel int
	// KeepLogs is of how many freed entries the log, screenshots and recording.json
	// stay, the oldest going first. Zero keeps none.
	KeepLogs int
	// HTTPClient sends instead of the package's own, which detects stalls and
	// follows no redirect.
	HTTPClient *http.Client
	// AllowTemp lets the spool lie where the system deletes or forgets: for tests.
	AllowTemp bool
}

// DefaultGiveUpAfter is Options.GiveUpAfter when that is zero.
const DefaultGiveUpAfter = 24 * time.Hour

// DefaultBackupAfter is Options.BackupAfter when that is zero.
const DefaultBackupAfter = time.Minute

// DefaultSendWithin is Options.SendWithin when that is zero: a full part of 5 MiB takes 14 s
// at 3 Mbit/s.
const DefaultSendWithin = 15 * time.Second

const (
	defaultStall    = 60 * time.Second
	defaultParallel = 4
)

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Backoff.Min <= 0 {
		o.Backoff.Min = time.Second
	}
	if o.Backoff.Max <= 0 {
		o.Backoff.Max = time.Minute
	}
	o.Backoff.Max = max(o.Backoff.Max, o.Backoff.Min)
	switch {
	case o.Backoff.Jitter == 0:
		o.Backoff.Jitter = 0.3
	case o.Backoff.Jitter < 0:
		o.Backoff.Jitter = 0
	}
	o.Backoff.Jitter = min(o.Backoff.Jitter, 1)
	if o.GiveUpAfter == 0 {
		o.GiveUpAfter = DefaultGiveUpAfter
	}
	if o.BackupAfter <= 0 {
		o.BackupAfter = DefaultBackupAfter
	}
	if o.GiveUpAfter > 0 { // nothing is given up that the backup was not asked for
		o.BackupAfter = min(o.BackupAfter, o.GiveUpAfter)
	}
	if o.SendWithin <= 0 {
		o.SendWithin = DefaultSendWithin
	}
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	return o
}
