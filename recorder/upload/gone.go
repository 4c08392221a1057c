package upload

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tapedeck/recorder"
)

// gone reports whether media are missing that were seen: nothing recorded is another thing.
func (d *delivery) gone() bool {
	seen := func(f recorder.FileResult) bool { return f.Size > 0 && f.Duration > 0 }
	return seen(d.file) || seen(d.before)
}

// whatIsGone says so to whoever may have moved them, and what there is elsewhere.
func (d *delivery) whatIsGone(j *journal) string {
	text := fmt.Sprintf("%s is not in the spool any more, although %d bytes of it were: put it back, or remove the entry",
		filepath.Base(d.media), max(d.file.Size, d.before.Size))
	if j.UploadID != "" {
		text += "; what was uploaded of it waits there as an upload in parts that nobody completed"
	}
	return text
}

// gone names the media that were refused for not being there: without the entry nobody would know of them.
func (e *entry) gone() (names []string) {
	for i, f := range e.saved.Files {
		name := recorder.MediaName(i, f)
		if info, err := os.Stat(e.path(name)); f.State == recorder.FileRefused && (err != nil || info.Size() == 0) {
			names = append(names, name+" (which is gone)")
		}
	}
	return slices.Clip(names)
}
