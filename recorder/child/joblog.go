package child

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// mostLog bounds a job's log, in bytes: a recording of a day that complains with every
// frame must not fill the spool's disk.
const mostLog = 10 << 20

// jobLog is a file that keeps its beginning and its end: when it gets too long, its
// middle is cut out.
type jobLog struct {
	file *os.File
	most int64
	size int64
}

func openJobLog(path string, most int64) (*jobLog, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &jobLog{file: file, most: most, size: size}, nil
}

// line appends one line. What cannot be written is lost, as on a disk that is full.
func (l *jobLog) line(text string) {
	n, err := l.file.WriteAt([]byte(text+"\n"), l.size)
	if err != nil {
		return
	}
	if l.size += int64(n); l.size > l.most {
		l.cut()
	}
}

// cut keeps a quarter at the beginning and a quarter at the end, in whole lines but for
// the first one's end.
func (l *jobLog) cut() {
	quarter := l.most / 4
	tail := make([]byte, quarter)
	if _, err := l.file.ReadAt(tail, l.size-quarter); err != nil {
		return
	}
	for i, b := range tail {
		if b == '\n' {
			tail = tail[i+1:]
			break
		}
	}
	gap := fmt.Sprintf("\n… %d bytes are cut out here …\n", l.size-quarter-int64(len(tail)))
	at := quarter
	for _, part := range [][]byte{[]byte(gap), tail} {
		n, err := l.file.WriteAt(part, at)
		if at += int64(n); err != nil {
			break
		}
	}
	if l.file.Truncate(at) == nil {
		l.size = at
	}
}

func (l *jobLog) close() error { return l.file.Close() }
