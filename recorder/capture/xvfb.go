package capture

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tapedeck/recorder"
)

// xServer is a running Xvfb.
type xServer struct {
	*process
	display   string // ":7"
	authority string // path of the cookie file
	cookie    []byte
}

// startX starts an X server of exactly the given size. It chooses its number
// itself and writes it to a pipe when it can be connected to.
func (s *Session) startX(ctx context.Context) (*xServer, error) {
	path, err := tool("Xvfb", "xvfb")
	if err != nil {
		return nil, err
	}
	if err := makeSocketDir(); err != nil {
		return nil, err
	}
	x := &xServer{authority: filepath.Join(s.dir, "Xauthority")}
	if x.cookie, err = writeAuthority(x.authority, s.account); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting Xvfb: %w", err)
	}
	x.process, err = s.spawn(command{
		name: "Xvfb", path: path, env: s.environment(), files: []*os.File{w}, dies: syscall.SIGTERM,
		args: []string{
			"-displayfd", "3", "-auth", x.authority, "-nolisten", "tcp", "-noreset",
			"-screen", "0", fmt.Sprintf("%dx%dx24", s.spec.Width, s.spec.Height), "-dpi", "96",
			// No pointer, no screen saver.
			"-nocursor", "-s", "0", "-dpms",
			// Chrome draws by itself; without GLX the server loads no Mesa.
			"-extension", "GLX",
		},
	}, s.mourn(recorder.EndDisplayDied))
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	ready := make(chan struct{})
	var number string
	go func() {
		defer r.Close()
		text, _ := io.ReadAll(io.LimitReader(r, 16))
		if number = strings.TrimSpace(string(text)); number != "" {
			close(ready)
		}
	}()
	if err := x.await(ctx, ready); err != nil {
		return nil, err
	}
	x.display = ":" + number
	if err := noteDisplay(s.dir, number); err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "noting the X display: %w", err)
	}
	return x, s.janitor.display(number)
}

// socketDir is where X servers listen.
const socketDir = "/tmp/.X11-unix"

// socketOf gives the socket of a display, by its number.
func socketOf(number string) string { return socketDir + "/X" + number }

// makeSocketDir makes the directory of the X sockets the way X itself wants it,
// which Xvfb cannot do once it is not root.
func makeSocketDir() error {
	if os.Geteuid() != 0 {
		return nil
	}
	err := os.Mkdir(socketDir, 0o777)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(socketDir, os.ModeSticky|0o777)
	}
	if err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "making the directory of X sockets: %w", err)
	}
	return nil
}

// writeAuthority makes a cookie and writes it in the format of Xauthority files
// (Xau(3)): family, then address, display number, name of the method and cookie, each
// with a length of two bytes, big endian. The wild family fits any address,
// and no number fits any display: the number is not known yet.
func writeAuthority(path string, owner account) ([]byte, error) {
	const familyWild = 0xffff
	cookie := make([]byte, 16)
	_, _ = rand.Read(cookie) // never fails
	var entry bytes.Buffer
	short := func(n int) { _ = binary.Write(&entry, binary.BigEndian, uint16(n)) }
	short(familyWild)
	for _, field := range []string{"", "", authMethod, string(cookie)} {
		short(len(field))
		entry.WriteString(field)
	}
	if err := writeNew(path, entry.Bytes()); err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "writing the X cookie: %w", err)
	}
	if err := owner.give(path); err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "writing the X cookie: %w", err)
	}
	return cookie, nil
}

const authMethod = "MIT-MAGIC-COOKIE-1"
