package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// localStore is a directory. Where spool and directory share a file system a
// hard link makes the delivery instant and exact; else the file is copied under
// a temporary name, read back and renamed.
type localStore struct{ dir string }

func (l localStore) target() string                        { return "dir:" + l.dir }
func (l localStore) plan(int64) plan                       { return plan{} }
func (l localStore) discard(_ context.Context, _ progress) {}

func (l localStore) put(ctx context.Context, o *object) (placed, error) {
	ready, err := l.stage(ctx, o)
	if err != nil {
		return placed{}, diskFault(err)
	}
	p, err := l.publish(ctx, o, ready)
	if ready != o.path {
		if rm := os.Remove(ready); err == nil && rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = rm
		}
	}
	return p, diskFault(err)
}

func (l localStore) has(_ context.Context, name string) (bool, error) {
	_, err := os.Lstat(filepath.Join(l.dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, diskFault(err)
}

// stage brings the bytes to the directory's file system: the media themselves
// when they are there already, else a verified copy.
func (l localStore) stage(ctx context.Context, o *object) (string, error) {
	dir := filepath.Dir(filepath.Join(l.dir, filepath.FromSlash(o.name)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// The name is the same at every try, so that a killed one leaves nothing behind.
	temp := filepath.Join(dir, ".tapedeck-"+o.id+".part")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	// A link takes the spool file's rights along; temporary files of mode 0600 are copied.
	if info, err := os.Stat(o.path); err == nil && info.Mode().Perm()&0o044 != 0 {
		if os.Link(o.path, temp) == nil {
			return temp, syncFile(temp) // the pipeline leaves that to us
		}
	}
	if err := copyFile(ctx, o.path, temp); err != nil {
		_ = os.Remove(temp)
		return "", err
	}
	sum, err := fileSHA256(ctx, temp)
	if err == nil && sum != o.digest.SHA256 {
		err = faultf(corrupt, "%s: the copy differs from the recording", temp)
	}
	if err != nil {
		_ = os.Remove(temp)
		return "", err
	}
	return temp, nil
}

// publish gives the staged file its name: the first free one, or the wanted one
// when it may be replaced.
func (l localStore) publish(ctx context.Context, o *object, staged string) (placed, error) {
	for n := 1; n <= o.names(); n++ {
		name := numbered(o.name, n)
		path := filepath.Join(l.dir, filepath.FromSlash(name))
		if info, err := os.Lstat(path); err == nil && !o.overwrite {
			same, err := l.same(ctx, path, info, o)
			if err != nil {
				return placed{}, err
			}
			if same { // an earlier try came so far
				return placed{Location: path, Name: name}, nil
			}
			continue
		}
		err := expose(staged, path, o.overwrite)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = l.syncUp(filepath.Dir(path))
		}
		return placed{Location: path, Name: name}, err
	}
	return placed{}, o.taken(filepath.Join(l.dir, filepath.FromSlash(o.name)))
}

// expose renames, or links where an existing file must survive a race.
func expose(staged, path string, overwrite bool) error {
	if overwrite {
		// rename(2) does nothing when both are links to one file; put removes the rest.
		return os.Rename(staged, path)
	}
	err := os.Link(staged, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without hard links: claim the name, then take it over.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_ = f.Close()
	return os.Rename(staged, path)
}

// same reports whether what lies at path is this very recording.
func (l localStore) same(ctx context.Context, path string, info fs.FileInfo, o *object) (bool, error) {
	if !info.Mode().IsRegular() || info.Size() != o.digest.Size {
		return false, nil
	}
	if media, err := os.Stat(o.path); err == nil && os.SameFile(media, info) {
		return true, nil
	}
	sum, err := fileSHA256(ctx, path)
	return err == nil && sum == o.digest.SHA256, err
}

// syncUp makes the new name last, and those of directories made for it.
func (l localStore) syncUp(dir string) error {
	for {
		if err := syncDir(dir); err != nil && !errors.Is(err, syscall.EINVAL) {
			return err
		}
		if dir == l.dir || !under(dir, l.dir) {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, withContext(ctx, in))
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("copying into %s: %w", filepath.Dir(to), err)
	}
	return nil
}
