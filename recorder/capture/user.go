package capture

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"tapedeck/recorder"
)

// account is whom the processes of a session run as.
type account struct {
	uid, gid int
	switched bool // not our own: we are root and they are not
}

// account resolves the user. Chrome refuses to run sandboxed as root, and a page
// should not be root's business anyway, so root always needs another user.
func (o Options) account() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	name := o.User
	if name == "" {
		name = DefaultUser
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return account{}, recorder.Errorf(recorder.CodeUnavailable, "as root, Chrome runs under the user %q, who does not exist: "+
			"create it with \"useradd --system --user-group %s\" or build/setup.sh, or name another", name, name)
	}
	if err != nil {
		return account{}, recorder.Errorf(recorder.CodeUnavailable, "looking up the user %q: %w", name, err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return account{}, recorder.Errorf(recorder.CodeUnavailable, "the ids of user %q: %w", name, err)
	}
	if uid == 0 {
		return account{}, recorder.Errorf(recorder.CodeInvalid, "user %q is root, but Chrome needs an unprivileged user", name)
	}
	return account{uid: uid, gid: gid, switched: true}, nil
}

// credential is what a child of ours switches to; nil when it need not.
func (a account) credential() *syscall.Credential {
	if !a.switched {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// give hands a path over to the account.
func (a account) give(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// passable reports the first directory on the way to path that the account
// cannot enter, such as a root's own /run/user/0.
func (a account) passable(path string) error {
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && !mayEnter(a, stat) {
			return recorder.Errorf(recorder.CodeInvalid, "the runtime directory %s is out of reach for uid %d, for %s has mode %04o: "+
				"choose another or allow others to pass", path, a.uid, dir, info.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func mayEnter(a account, stat *syscall.Stat_t) bool {
	switch {
	case int(stat.Uid) == a.uid:
		return stat.Mode&0o100 != 0
	case int(stat.Gid) == a.gid:
		return stat.Mode&0o010 != 0
	default:
		return stat.Mode&0o001 != 0
	}
}

// runtimeBase gives the directory that sessions are made in, and makes our own
// when none is set.
func (o Options) runtimeBase(a account) (string, error) {
	base := o.RuntimeDir
	if base == "" {
		parent := os.Getenv("XDG_RUNTIME_DIR")
		if a.switched || parent == "" {
			parent = os.TempDir()
		}
		base = filepath.Join(parent, fmt.Sprintf("tapedeck-%d", os.Geteuid()))
		if err := makePrivate(base); err != nil {
			return "", err
		}
	} else if err := os.MkdirAll(base, 0o711); err != nil {
		return "", recorder.Errorf(recorder.CodeInvalid, "the runtime directory: %w", err)
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	return base, a.passable(base)
}

// makePrivate makes dir, or takes it when it is ours: in a shared temp
// directory somebody else may have been there first.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return recorder.Errorf(recorder.CodeUnavailable, "the runtime directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "the runtime directory: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return recorder.Errorf(recorder.CodeUnavailable, "%s is not a directory of our own; remove it or set another runtime directory", dir)
	}
	return nil
}
