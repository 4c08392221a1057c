package upload

import (
	"os"
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
	// Placed is set when the copy is verified, Manifest when that is there too.
	Placed   *placed `json:"placed,omitempty"`
	Manifest string  `json:"manifest,omitempty"`
	// Backup says that the own storage was given up, Why what it said.
	Backup bool   `json:"backup,omitempty"`
	Why    string `json:"why,omitempty"`
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
