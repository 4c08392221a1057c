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
	id          string // of the entry and file, for temporary names
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
	// discard drops what a put that will not go on has left at the destination.
	discard(ctx context.Context, p progress)
}

// storeFor opens the destination of file output i. The manifest's is the same
// one, or none.
func (s *Spool) storeFor(ctx context.Context, task recorder.Task, i int) (st store, where Storage, err error) {
	where = s.opts.Default
	if task.OutputDir != "" {
		where = Storage{Directory: task.OutputDir, Overwrite: s.opts.Overwrite}
	}
	if i < len(task.Job.Files) {
		f := task.Job.Files[i]
		switch {
		case f.S3 != nil:
			where = Storage{S3: f.S3, Overwrite: s.opts.Overwrite}
		case f.UploadURL != "":
			st, err = newPutStore(s.opts, f.UploadURL)
			return st, Storage{}, err
		}
	}
	switch {
	case where.S3 != nil:
		st, err = newS3Store(ctx, s.opts, *where.S3)
	case where.Directory != "":
		st = localStore{dir: where.Directory}
	default:
		err = &fault{class: final, text: "the file output names no storage and the worker has none", remedy: "give the output s3 or upload_url, or the worker a storage"}
	}
	return st, where, err
}

func (s Storage) validate() error {
	if s.Directory != "" && s.S3 != nil {
		return recorder.Errorf(recorder.CodeInvalid, "storage: both a directory and a bucket are given: choose one")
	}
	if s.Directory != "" && !filepath.IsAbs(s.Directory) {
		return recorder.Errorf(recorder.CodeInvalid, "storage directory %q: must be an absolute path", s.Directory)
	}
	if s.Prefix != "" && !filepath.IsLocal(s.Prefix) {
		return recorder.Errorf(recorder.CodeInvalid, "storage prefix %q: must be relative and must not climb", s.Prefix)
	}
	if s.S3 != nil {
		return validateS3(*s.S3)
	}
	return nil
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
