package upload

import (
	"os"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// journal is how far the upload of one file came. It lies beside the media, so
// that another process goes on where this one was killed. It holds no secret,
// and it only saves work: a disk too full to write it must not hold up the
// upload that will make room.
type journal struct {
	path string // "" is not kept
	log  *zap.Logger
	mu   sync.Mutex // the parts of a multipart upload are noted concurrently
	progress
}

type progress struct {
	Digest digest `json:"digest"`
	// Target tells whether the storage is still the same one.
	Target string `json:"target"`
	// Name is the name under which the file is being stored. Ours says that what
	// lies there is our own failed try, which may be replaced.
	Name string `json:"name,omitempty"`
	Ours bool   `json:"ours,omitempty"`
	// UploadID and Parts (number to ETag) are an S3 multipart upload under way.
	UploadID string         `json:"upload_id,omitempty"`
	Parts    map[int]string `json:"parts,omitempty"`
	// Grown is set where the upload began while the file was written.
	Grown *grown `json:"grown,omitempty"`
	// Fenced says that somebody else ended the upload, and may have the name by right.
	Fenced bool `json:"fenced,omitempty"`
	// Placed is set when the copy is verified, Manifest when that is there too.
	Placed   *placed `json:"placed,omitempty"`
	Manifest string  `json:"manifest,omitempty"`
	// Backup says that the own storage was given up, Why what it said.
	Backup bool   `json:"backup,omitempty"`
	Why    string `json:"why,omitempty"`
	// Aside says that the upload URL was left to others, Why for what.
	Aside bool `json:"aside,omitempty"`
}

// grown is what is known of parts that were sent before the file was whole.
type grown struct {
	PartSize int64 `json:"part_size"`
	// Sums are the MD5s of parts, as they were sent, whose ETag is something else.
	Sums map[int]string `json:"sums,omitempty"`
}

// sent notes a part that the storage has.
func (p *progress) sent(n int, etag, sum string) {
	if p.Parts == nil {
		p.Parts = map[int]string{}
	}
	p.Parts[n] = etag
	if p.Grown == nil {
		return
	}
	delete(p.Grown.Sums, n)
	if !strings.EqualFold(etag, sum) {
		if p.Grown.Sums == nil {
			p.Grown.Sums = map[int]string{}
		}
		p.Grown.Sums[n] = sum
	}
}

// sumOf gives the MD5 of a part as it was sent.
func (p *progress) sumOf(n int) string {
	if p.Grown != nil && p.Grown.Sums[n] != "" {
		return p.Grown.Sums[n]
	}
	return p.Parts[n]
}

// has reports whether the part that the storage has under this ETag holds the
// bytes of this sum.
func (p *progress) has(n int, etag, sum string) bool {
	if strings.EqualFold(etag, sum) {
		return true
	}
	return etag != "" && etag == p.Parts[n] && (p.Grown == nil || p.Grown.Sums[n] == sum)
}

// drop forgets an upload that is complete or gone.
func (p *progress) drop() {
	p.UploadID, p.Parts = "", nil
	if p.Grown != nil {
		p.Grown.Sums = nil
	}
}

// fence notes that somebody else ended the upload.
func (p *progress) fence() {
	p.drop()
	p.Fenced = true
}

// look gives a copy of what a reader needs while others write.
func (j *journal) look(read func(progress)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	read(j.progress)
}

// placed says where a verified copy is.
type placed struct {
	Location string `json:"location"`
	Name     string `json:"name"`     // within the storage, its prefix included
	Filename string `json:"filename"` // as results show it
}

func openJournal(path string, log *zap.Logger) *journal {
	j := &journal{path: path, log: log}
	if err := readJSON(path, &j.progress); err != nil {
		j.progress = progress{}
	}
	return j
}

// update changes the journal and puts it on disk.
func (j *journal) update(change func(*progress)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.progress)
	if j.path == "" {
		return
	}
	if err := writeJSON(j.path, j.progress); err != nil {
		j.log.Warn("progress of the upload cannot be noted; a restart begins anew", zap.Error(err))
	}
}

func (j *journal) remove() error {
	err := os.Remove(j.path)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
