package upload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"tapedeck/recorder"
)

// notes is what is kept of a file's upload where other workers can read it: one
// note of the upload, and a short one of each part.
type notes struct {
	to   recorder.Journal // nil is nobody
	name string           // "1/file-0": the recording's part, and the output
}

// fileNote says how an upload can be completed by whoever has the job's storage. It
// holds no secret.
type fileNote struct {
	Target    string `json:"target"`
	Backup    bool   `json:"backup,omitempty"`
	Key       string `json:"key"`
	Filename  string `json:"filename"` // as results show it
	UploadID  string `json:"upload_id"`
	Mark      string `json:"mark,omitempty"` // in the object's metadata, see markKey
	PartSize  int64  `json:"part_size"`
	StartedAt int64  `json:"started_at"` // ns since the Unix epoch
	// Final is set when the recording has ended and all but the header's part is sent.
	Final *finalNote `json:"final,omitempty"`
}

// finalNote is what the object will be when its upload is completed.
type finalNote struct {
	Parts int    `json:"parts"`
	Size  int64  `json:"size"`
	ETag  string `json:"etag"` // where the server makes it of MD5s
	Head  string `json:"head"` // MD5 of the header's part
}

// partNote is a part that the storage has.
type partNote struct {
	Upload string `json:"u"` // uploadMark
	ETag   string `json:"e"`
	Size   int64  `json:"s"`
	Media  int64  `json:"m,omitempty"` // ns of media that are whole with it
}

// uploadMark tells the notes of one upload from those of another.
func uploadMark(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:4])
}

func (n notes) begun(f fileNote) { n.write(n.name, f) }

func (n notes) part(id string, p piece, etag string, media time.Duration) {
	n.write(fmt.Sprintf("%s.%d", n.name, p.n), partNote{Upload: uploadMark(id), ETag: etag, Size: p.size, Media: int64(media)})
}

func (n notes) write(name string, v any) {
	if n.to == nil {
		return
	}
	if text, err := json.Marshal(v); err == nil {
		n.to.Note(name, string(text))
	}
}
