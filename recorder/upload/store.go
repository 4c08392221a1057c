package upload

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"tapedeck/recorder"
)

// object is one file on its way to a store.
type object struct {
	path        string // on this machine
	name        string // within the store, slash-separated, as the job wants it
	contentType string
	overwrite   bool
	exact       bool    // no other name will do
	beside      bool    // it has no right to its name any more, and replaces nothing
	replaces    *digest // what must lie there, to be replaced; nil is anything
	id          string  // of the entry and file, for temporary names
	digest      digest
	journal     *journal
}

// store is a destination.
type store interface {
	// target names the destination without secrets; another target makes a
	// journal void.
	target() string
	// plan is which sums put needs of a file of so many bytes.
	plan(size int64) plan
	// put stores and verifies. It may be called again after any failure or death.
	put(ctx context.Context, o *object) (placed, error)
	// has tells whether something lies under a name; a store that cannot say says no.
	has(ctx context.Context, name string) (bool, error)
	// discard drops what a put that will not go on has left at the destination.
	discard(ctx context.Context, p progress)
}

// route is where an output goes: its own storage, which may be a presigned URL,
// and the backup for what that one refuses. The zero Storage is none.
type route struct {
	own, backup Storage
	uploadURL   string
}

// route gives the way of an output that names a storage, an URL, or neither.
func (s *Spool) route(task recorder.Task, named recorder.Storage, uploadURL string) route {
	r := route{own: s.opts.Default, backup: s.opts.Backup, uploadURL: uploadURL}
	switch {
	case uploadURL != "":
		r.own = Storage{}
	case !named.IsZero():
		r.own = storageOf(named, s.opts.Overwrite)
	case task.OutputDir != "":
		r.own = Storage{Directory: task.OutputDir, Overwrite: s.opts.Overwrite}
	}
	if task.Job.Backup != nil && !task.Job.Backup.IsZero() {
		r.backup = storageOf(*task.Job.Backup, s.opts.Overwrite)
	}
	return r
}

// beside is the way of what has no right to its names any more: it replaces nothing.
func (r route) beside() route {
	r.own.Overwrite, r.backup.Overwrite = false, false
	return r
}

// where gives the one of both that is in use.
func (r route) where(backup bool) Storage {
	if backup {
		return r.backup
	}
	return r.own
}

func (r route) hasBackup() bool { return r.backup != Storage{} }

// open gives the store that is in use. It opens no connection, but credentials
// may be looked for.
func (r route) open(ctx context.Context, opts Options, backup bool) (store, error) {
	if !backup && r.uploadURL != "" {
		return newPutStore(opts, r.uploadURL)
	}
	return r.where(backup).open(ctx, opts)
}

func storageOf(s recorder.Storage, overwrite bool) Storage {
	return Storage{S3: s.S3, GCP: s.GCP, Azure: s.Azure, AliOSS: s.AliOSS, Overwrite: overwrite}
}

// named gives what of s is in the domain's terms.
func (s Storage) named() recorder.Storage {
	return recorder.Storage{S3: s.S3, GCP: s.GCP, Azure: s.Azure, AliOSS: s.AliOSS}
}

func (s Storage) open(ctx context.Context, opts Options) (store, error) {
	switch {
	case s.S3 != nil:
		return newS3Store(ctx, opts, *s.S3)
	case s.GCP != nil:
		return newGCSStore(ctx, opts, *s.GCP)
	case s.Azure != nil:
		return newAzureStore(opts, *s.Azure)
	case s.AliOSS != nil:
		return newOSSStore(opts, *s.AliOSS)
	case s.Directory != "":
		return localStore{dir: s.Directory}, nil
	default:
		return nil, &fault{
			class: final, text: "the output names no storage and the worker has none",
			remedy: "give the output s3, gcp, azure, ali_oss or upload_url, or the worker a storage",
		}
	}
}

// String names the storage without secrets.
func (s Storage) String() string {
	switch {
	case s.S3 != nil:
		return "s3://" + path.Join(s.S3.Bucket, s.Prefix)
	case s.GCP != nil:
		return "gs://" + path.Join(s.GCP.Bucket, s.Prefix)
	case s.Azure != nil:
		return "https://" + path.Join(azureHost(s.Azure.AccountName), s.Azure.ContainerName, s.Prefix)
	case s.AliOSS != nil:
		return "oss://" + path.Join(s.AliOSS.Bucket, s.Prefix)
	default:
		return s.Directory
	}
}

// validate looks at what only the worker's configuration can say, and lets the
// domain judge the rest. An Error of CodeInvalid, or Faults.
func (s Storage) validate(field string) error {
	if s.Directory != "" && !s.named().IsZero() {
		return recorder.Errorf(recorder.CodeInvalid, "%s: both a directory and a bucket are given: choose one", field)
	}
	if s.Directory != "" && !filepath.IsAbs(s.Directory) {
		return recorder.Errorf(recorder.CodeInvalid, "%s.directory %q: must be an absolute path", field, s.Directory)
	}
	if s.Prefix != "" && !filepath.IsLocal(s.Prefix) {
		return recorder.Errorf(recorder.CodeInvalid, "%s.prefix %q: must be relative and must not climb", field, s.Prefix)
	}
	return recorder.ValidateStorage(field, s.named())
}

// name gives the name of a file within the storage. It never leaves it.
func (s Storage) name(filename string) (string, error) {
	if filename == "" || strings.HasSuffix(filename, "/") || strings.ContainsAny(filename, "\x00\\") || !filepath.IsLocal(filename) {
		return "", faultf(final, "file name %q: must be a relative path that does not leave its storage", filename)
	}
	return path.Join(s.Prefix, filename), nil
}

// numbered gives name, name-2, name-3, … for n = 1, 2, 3, …
func numbered(name string, n int) string {
	if n <= 1 {
		return name
	}
	ext := path.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), n, ext)
}

// mostNames bounds the search for a free name.
const mostNames = 1000

func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case recorder.ExtMP4:
		return "video/mp4"
	case recorder.ExtWebM:
		return "video/webm"
	case recorder.ExtOGG:
		return "audio/ogg"
	case recorder.ExtMP3:
		return "audio/mpeg"
	case ".m3u8":
		return "application/x-mpegurl"
	case ".ts":
		return "video/mp2t"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".json":
		return "application/json"
	default:
		return "application/octet-stream"
	}
}

// hostOf is for messages: scheme and host, nothing that can be secret.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return "the server"
	}
	return u.Scheme + "://" + u.Host
}
