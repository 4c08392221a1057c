package upload

import (
	"context"
	"errors"
	"os"
	"time"

	"tapedeck/recorder"
)

// checkName is one name for all checks, so that keys which may not delete leave
// one small object and no heap of them.
const checkName = ".tapedeck-check"

// Check writes a few bytes to a storage and removes them. Its error says what is
// wrong and what mends it, and holds no secret. Bound it with ctx: a machine
// without keys may ask for a role's for some seconds.
func Check(ctx context.Context, s Storage) error {
	if err := s.validate("storage"); err != nil {
		return err
	}
	var err error
	switch {
	case !s.named().IsZero():
		err = checkBucket(ctx, s)
	case s.Directory != "":
		err = diskFault(checkDir(s.Directory))
	default:
		return recorder.Errorf(recorder.CodeInvalid, "storage: neither a directory nor a bucket is given")
	}
	if err == nil {
		return nil
	}
	scrub := recorder.NewScrubber(recorder.Job{Files: []recorder.FileOutput{{Storage: s.named()}}})
	return &recorder.Error{Code: recorder.CodeUpload, Message: scrub.Text(err.Error())}
}

func checkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, checkName+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the write is what counts
	if _, err := f.Write(checkText()); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// checkBucket writes as an upload does, replacing what an earlier check left.
func checkBucket(ctx context.Context, where Storage) error {
	key, err := where.name(checkName)
	if err != nil {
		return err
	}
	opts := Options{Backoff: Backoff{Min: time.Millisecond, Max: 200 * time.Millisecond}}.withDefaults()
	st, err := where.open(ctx, opts)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "tapedeck-check-")
	if err != nil {
		return diskFault(err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // a few bytes in a temp directory
	_, err = file.Write(checkText())
	if err := errors.Join(err, file.Close()); err != nil {
		return diskFault(err)
	}
	sums, err := measure(ctx, file.Name(), st.plan(int64(len(checkText()))))
	if err != nil {
		return diskFault(err)
	}
	b, ok := st.(interface {
		bucket
		remove(ctx context.Context, key string) error
	})
	if !ok {
		return faultf(final, "%s: cannot be checked", where)
	}
	o := &object{path: file.Name(), name: key, contentType: "text/plain", overwrite: true, digest: sums, journal: &journal{}}
	if err := b.send(ctx, key, o, true); err != nil {
		return err
	}
	// Keys that may write but not delete are a good habit, not an error.
	_ = b.remove(ctx, key)
	return nil
}

func checkText() []byte { return []byte("written by tapedeck to see whether it can\n") }
