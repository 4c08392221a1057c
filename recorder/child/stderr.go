package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Unblocked gives a writer for a child's log that never waits: what a worker which
// does not read has no room for is left out, and counted. It changes the file itself,
// and with it what C libraries write there. What is no file or cannot be changed is given
// back as it is.
func Unblocked(to io.Writer) io.Writer {
	file, ok := to.(*os.File)
	if !ok {
		return to
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return to
	}
	w := &unblocked{}
	if controlErr := raw.Control(func(fd uintptr) { w.fd, err = int(fd), unix.SetNonblock(int(fd), true) }); controlErr != nil || err != nil {
		return to
	}
	return w
}

type unblocked struct {
	fd int

	mu   sync.Mutex
	lost int // lines that found no room
	torn bool
}

// Write takes one line or several, and always all of them.
func (w *unblocked) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 || w.torn {
		note := fmt.Sprintf("%d log entries are missing here: nobody read them\n", w.lost)
		if w.torn {
			note = "…\n" + note
		}
		if !w.put([]byte(note)) {
			w.lost++
			return len(lines), nil
		}
		w.lost, w.torn = 0, false
	}
	if !w.put(lines) {
		w.lost++
	}
	return len(lines), nil
}

// put reports whether all of it was taken. Short lines are taken as a whole or not
// at all (pipe(7), PIPE_BUF).
func (w *unblocked) put(text []byte) bool {
	for begun := false; len(text) > 0; begun = true {
		n, err := unix.Write(w.fd, text)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			w.torn = w.torn || begun
			return false
		default:
			text = text[n:]
		}
	}
	return true
}
