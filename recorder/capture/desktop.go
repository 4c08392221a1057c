package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// desktop is the user's own: where a visible Chrome opens its window and what it
// plays to.
type desktop struct {
	display   string // ":0"; empty on a Wayland desktop without X
	authority string // our copy of the display's cookies; empty when there are none
	platform  string // Chrome's name for the kind of desktop
	env       []string
}

// findDesktop looks for the display that DISPLAY or WAYLAND_DISPLAY name.
func (s *Session) findDesktop() (*desktop, error) {
	d := &desktop{display: os.Getenv("DISPLAY")}
	wayland := os.Getenv("WAYLAND_DISPLAY")
	switch {
	case d.display != "":
		var err error
		if d.authority, err = s.copyCookies(d.display); err != nil {
			return nil, err
		}
		d.platform, d.env = "x11", []string{"DISPLAY=" + d.display}
		if d.authority != "" {
			d.env = append(d.env, "XAUTHORITY="+d.authority)
		}
	case wayland != "" && s.account.switched:
		return nil, recorder.Errorf(recorder.CodeUnavailable, "the Wayland desktop %q lets only its own user in, and as root Chrome runs as uid %d: "+
			"run as the desktop's user, or record without a window (--record)", wayland, s.account.uid)
	case wayland != "":
		d.platform, d.env = "wayland", []string{"WAYLAND_DISPLAY=" + wayland}
	default:
		return nil, recorder.Errorf(recorder.CodeUnavailable, "no display: neither DISPLAY nor WAYLAND_DISPLAY is set; "+
			"run this in a desktop's terminal, or record without a window (--record)")
	}
	sound, err := s.userSound()
	if err != nil {
		return nil, err
	}
	d.env = append(d.env, sound...)
	return d, nil
}

// userSound is what Chrome needs to play to the user's own sound server. The
// sockets of both desktop and sound are in the user's runtime directory.
func (s *Session) userSound() ([]string, error) {
	var env []string
	if server := os.Getenv("PULSE_SERVER"); server != "" {
		env = append(env, "PULSE_SERVER="+server)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && !s.account.switched {
		env = append(env, "XDG_RUNTIME_DIR="+dir)
	} else if len(env) == 0 {
		// Where nobody listens: otherwise the sound library would start a server of its own.
		env = append(env, "PULSE_SERVER=unix:"+s.pulseSocket())
		s.log.Warn("there is no sound: no sound server is in reach; set PULSE_SERVER")
	}
	for _, path := range []string{os.Getenv("PULSE_COOKIE"), inHome(".config/pulse/cookie"), inHome(".pulse-cookie")} {
		cookie, err := readIfThere(path)
		if err != nil {
			return nil, recorder.Errorf(recorder.CodeUnavailable, "the sound server's cookie: %w", err)
		}
		if cookie != nil {
			copied, err := s.writePrivate("pulse-cookie", cookie)
			return append(env, "PULSE_COOKIE="+copied), err
		}
	}
	return env, nil
}

// copyCookies copies the cookies of one display to where Chrome may read them:
// its home is not the user's, and it may be another user.
func (s *Session) copyCookies(display string) (string, error) {
	path := os.Getenv("XAUTHORITY")
	if path == "" {
		path = inHome(".Xauthority")
	}
	file, err := readIfThere(path)
	if err != nil {
		return "", recorder.Errorf(recorder.CodeUnavailable, "the cookies of display %s: %w", display, err)
	}
	cookies := cookiesOf(file, display)
	if len(cookies) == 0 {
		s.log.Info("no cookie for the display; it may go by the user's id", zap.String("display", display), zap.String("file", path))
		return "", nil
	}
	return s.writePrivate("Xauthority", cookies)
}

// cookiesOf gives the entries of an Xauthority file (see writeAuthority) that
// are for a display, on whatever host, or for any.
func cookiesOf(file []byte, display string) []byte {
	number, _, _ := strings.Cut(display[strings.LastIndex(display, ":")+1:], ".")
	var found []byte
	for len(file) > 0 {
		rest := file
		fields, ok := authorityFields(&rest)
		if !ok {
			break
		}
		if n := string(fields[1]); n == "" || n == number {
			found = append(found, file[:len(file)-len(rest)]...)
		}
		file = rest
	}
	return found
}

// authorityFields takes one entry off a file: address, number, method and cookie.
func authorityFields(file *[]byte) (fields [4][]byte, ok bool) {
	in := bytes.NewBuffer(*file)
	in.Next(2) // the family
	for i := range fields {
		size := in.Next(2)
		if len(size) < 2 {
			return fields, false
		}
		n := int(binary.BigEndian.Uint16(size))
		if fields[i] = in.Next(n); len(fields[i]) < n {
			return fields, false
		}
	}
	*file = in.Bytes()
	return fields, true
}

// writePrivate writes a file into the session's directory that only Chrome's
// user may read.
func (s *Session) writePrivate(name string, content []byte) (string, error) {
	path := filepath.Join(s.dir, name)
	if err := errors.Join(writeNew(path, content), s.account.give(path)); err != nil {
		return "", recorder.Errorf(recorder.CodeUnavailable, "writing the session's %s: %w", name, err)
	}
	return path, nil
}

// readIfThere gives nil for a file that does not exist or has no name.
func readIfThere(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

func inHome(path string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, path)
}

// refusal explains why Chrome could not open its window.
func (d *desktop) refusal(who account) error {
	remedy := "look whether DISPLAY and XAUTHORITY are those of the desktop"
	if who.switched {
		remedy = fmt.Sprintf("as root, Chrome runs as uid %d: let it in with \"xhost +si:localuser:$(id -nu %[1]d)\", or run as the desktop's user", who.uid)
	}
	return recorder.Errorf(recorder.CodeUnavailable, "Chrome cannot open a window on the display %q: %s, or record without a window (--record)", d.display, remedy)
}
