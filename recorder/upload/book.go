package upload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// book is what a series' storage has, on disk: one JSON object a line, synced
// before the file it tells of is removed. A line that a crash cut off is
// dropped: its file is still in the spool. It holds no secret and belongs to one
// goroutine.
type book struct {
	path    string
	reserve string // given up for a line on a full disk
	length  int64  // of what was loaded
	set     *set   // nil until a place is claimed
	sent    map[string]sentFile
	order   []string // of first sending
}

// line is one of the book: a set that begins, and makes what stands before it
// void, or a file of it, or another List of that set.
type line struct {
	Set  *set      `json:"set,omitempty"`
	File *sentFile `json:"file,omitempty"`
	List int       `json:"list,omitempty"`
}

// set is where a series is stored, under names that all of its files share.
type set struct {
	// Target tells whether the storage is still the same one.
	Target string `json:"target"`
	// Backup says that it is the backup; Why is what the own storage said.
	Backup bool   `json:"backup,omitempty"`
	Why    string `json:"why,omitempty"`
	// Base is the directory of all files; Take is more than 1 where another
	// recording had their names.
	Base string `json:"base,omitempty"`
	Take int    `json:"take"`
	// List is more than 1 where another recording's playlist lies among the segments.
	List int `json:"list,omitempty"`
	// Alone says that the playlists have nothing to do with those of other parts: this
	// part went to another storage than they did. Unclaimed is until it has names there.
	Alone     bool `json:"alone,omitempty"`
	Unclaimed bool `json:"unclaimed,omitempty"`
	// Main, Live and Prefix are the names of the series as the pipeline has them.
	Main   string `json:"main,omitempty"`
	Live   string `json:"live,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

// sentFile is one that was verified.
type sentFile struct {
	Name     string    `json:"name"` // below the series' directory
	Location string    `json:"location"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	SHA256   string    `json:"sha256"`
	// Mutable files are sent again when they change, and are no media.
	Mutable bool `json:"mutable,omitempty"`
	// Yielded is a playlist whose name somebody goes on with, who has the job now. Under
	// is the name that it has instead, where it lists more.
	Yielded bool   `json:"yielded,omitempty"`
	Under   string `json:"under,omitempty"`
}

func bookName(dirName string) string { return "delivered-" + dirName + ".jsonl" }

// name gives a file's name in the storage: relative references keep holding,
// because all files move together.
func (s *set) name(local string) string {
	if s != nil && isPlaylist(local) {
		local = numbered(local, s.List)
	}
	if s == nil || s.Take <= 1 || local == "" {
		return local
	}
	rest := local
	if s.Base != "" {
		rest = strings.TrimPrefix(local, s.Base+"/")
	}
	return path.Join(s.Base, numbered("take", s.Take), rest)
}

// openBook is for the one who writes on: half a line is cut off.
func openBook(path, reserve string) (*book, error) {
	b := &book{path: path, reserve: reserve, sent: map[string]sentFile{}}
	rest, err := b.load()
	if err == nil && rest > 0 {
		err = os.Truncate(path, b.length)
	}
	return b, err
}

// readBook is for others: its owner may be writing.
func readBook(path string) (*book, error) {
	b := &book{path: path, sent: map[string]sentFile{}}
	_, err := b.load()
	return b, err
}

// load takes in what is on disk, up to a line that is not whole.
func (b *book) load() (rest int, err error) {
	data, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for {
		end := bytes.IndexByte(data, '\n')
		var l line
		if end < 0 || json.Unmarshal(data[:end], &l) != nil {
			return len(data), err
		}
		b.apply(l)
		b.length += int64(end + 1)
		data = data[end+1:]
	}
}

func (b *book) apply(l line) {
	if l.Set != nil {
		b.set, b.sent, b.order = l.Set, map[string]sentFile{}, nil
	}
	if l.List > 0 && b.set != nil {
		moved := *b.set
		moved.List = l.List
		b.set = &moved
	}
	if l.File != nil {
		if _, again := b.sent[l.File.Name]; !again {
			b.order = append(b.order, l.File.Name)
		}
		b.sent[l.File.Name] = *l.File
	}
}

// write adds a line and waits until it is on disk.
func (b *book) write(l line) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	err = appendLine(b.path, append(data, '\n'))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// A full disk must not keep what is delivered from being noted and removed.
		if os.Remove(b.reserve) == nil {
			err = appendLine(b.path, append(data, '\n'))
		}
	}
	if err == nil {
		b.apply(l)
	}
	return err
}

// appendLine leaves no half line behind it when it fails.
func appendLine(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		if _, err = f.Write(data); err == nil {
			err = f.Sync()
		}
		if err != nil {
			err = errors.Join(err, f.Truncate(end))
		}
	}
	return errors.Join(err, f.Close())
}

// media gives the number and size of the files that are no playlists.
func (b *book) media() (count, size int64) {
	for _, f := range b.sent {
		if !isPlaylist(f.Name) {
			count++
			size += f.Size
		}
	}
	return count, size
}
