package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tapedeck/recorder"
)

// Manifest is the JSON object stored beside a file as <file>.json. The names of
// its first fields are those that LiveKit Egress writes and library clients read.
type Manifest struct {
	EgressID string `json:"egress_id"`
	RoomID   string `json:"room_id,omitempty"` // metadata["room_id"] of the job, else the room's name
	RoomName string `json:"room_name,omitempty"`
	URL      string `json:"url,omitempty"` // the recorded page, redacted
	Layout   string `json:"layout,omitempty"`
	// StartedAt and EndedAt span the media, ns since the Unix epoch.
	StartedAt int64              `json:"started_at"`
	EndedAt   int64              `json:"ended_at"`
	EndReason recorder.EndReason `json:"end_reason,omitempty"`
	// Part is more than 1 when another worker recorded on after a death.
	Part     int               `json:"part,omitempty"`
	Files    []ManifestFile    `json:"files"` // the file this manifest lies beside
	Metadata map[string]string `json:"metadata,omitempty"`
}

// ManifestFile is the file a manifest lies beside.
type ManifestFile struct {
	Filename string   `json:"filename"`
	Location string   `json:"location"`
	Size     int64    `json:"size"`               // bytes
	Duration int64    `json:"duration,omitempty"` // ns
	SHA256   string   `json:"sha256"`             // hex
	Partial  bool     `json:"partial,omitempty"`  // not finalised: plays up to the crash
	Codecs   []string `json:"codecs,omitempty"`
	Width    int      `json:"width,omitempty"` // pixels
	Height   int      `json:"height,omitempty"`
}

func newManifest(rec recorder.Recording, f recorder.FileResult, j progress) Manifest {
	m := Manifest{
		EgressID: rec.ID, RoomID: rec.Metadata["room_id"], RoomName: rec.RoomName, URL: rec.URL, Layout: rec.Layout,
		StartedAt: rec.StartedAt, EndedAt: rec.EndedAt, EndReason: rec.EndReason, Part: rec.Part, Metadata: rec.Metadata,
		Files: []ManifestFile{{
			Filename: j.Placed.Filename, Location: j.Placed.Location, Size: j.Digest.Size, SHA256: j.Digest.SHA256,
			Duration: f.Duration, Partial: f.Partial, Codecs: f.Codecs, Width: f.Width, Height: f.Height,
		}},
	}
	if m.RoomID == "" {
		m.RoomID = rec.RoomName
	}
	if f.StartedAt != 0 {
		m.StartedAt = f.StartedAt
	}
	if f.EndedAt != 0 {
		m.EndedAt = f.EndedAt
	}
	return m
}

// manifest stores <file>.json beside the file, replacing an older one. A
// presigned URL has no place for it.
func (d *delivery) manifest(ctx context.Context, st store, where Storage, j *journal) error {
	if where == (Storage{}) || (d.i < len(d.task.Job.Files) && d.task.Job.Files[d.i].DisableManifest) {
		return nil
	}
	data, err := json.MarshalIndent(newManifest(d.rec, d.file, j.progress), "", "  ")
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	path := d.entry.path(fmt.Sprintf("manifest-%d.json", d.i))
	if err := writeFile(path, append(data, '\n')); err != nil {
		return manifestFault(diskFault(err))
	}
	sums, err := measure(ctx, path, st.plan(int64(len(data)+1)))
	if err != nil {
		return manifestFault(diskFault(err))
	}
	o := &object{
		path: path, name: j.Placed.Name + ".json", contentType: "application/json", overwrite: true,
		id: fmt.Sprintf("%s-%d-manifest", d.task.Job.ID, d.i), digest: sums, journal: &journal{},
	}
	_, err = st.put(ctx, o)
	return manifestFault(err)
}

// manifestFault gives up on a refusal soon: the media are safe already.
func manifestFault(err error) error {
	if err == nil {
		return nil
	}
	out := &fault{class: classOf(err), text: "manifest: " + err.Error(), cause: err}
	var f *fault
	if errors.As(err, &f) && f.class == denied {
		out.class = final
	}
	return out
}
