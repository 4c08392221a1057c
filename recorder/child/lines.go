package child

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// drainTime is how long a reader waits for what a dead child wrote. Its own children may
// hold the pipes open for ever.
const drainTime = 500 * time.Millisecond

// lastWords reads a pipe of a child, whose end gives it a deadline. One that passed while
// the reader was busy elsewhere says nothing of what is in the pipe.
type lastWords struct{ *os.File }

func (w lastWords) Read(b []byte) (int, error) {
	n, err := w.File.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if err := w.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		return n, err
	}
	return w.File.Read(b)
}

// eachLine calls take for every line of r, the last one without its newline
// included, until r ends. A line beyond most bytes is cut: whoever writes it is
// never blocked and never makes this process grow.
func eachLine(r io.Reader, most int, take func(line []byte, cut bool)) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	cut := false
	for {
		part, err := in.ReadSlice('\n')
		if room := most - len(line); len(part) > room {
			part, cut = part[:room], true
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(line) > 0 {
			take(bytes.TrimRight(line, "\r\n"), cut)
		}
		line, cut = line[:0], false
		if err != nil {
			return
		}
	}
}
