package upload

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"tapedeck/recorder"
)

// Manifest is the JSON object stored beside a file as <file>.json, and as
// <job id>.json for all outputs of the job in that directory. The names of its
// first fields are those that LiveKit Egress writes and library clients read.
type Manifest struct {
	EgressID string `json:"egress_id"`
	RoomID   string `json:"room_id,omitempty"` // the sid; unknown, metadata["room_id"] of the job or the room's name
	RoomName string `json:"room_name,omitempty"`
	URL      string `json:"url,omitempty"` // the recorded page, redacted
	Layout   string `json:"layout,omitempty"`
	// StartedAt and EndedAt span the media, ns since the Unix epoch.
	StartedAt int64              `json:"started_at"`
	EndedAt   int64              `json:"ended_at"`
	EndReason recorder.EndReason `json:"end_reason,omitempty"`
	// Part is more than 1 when the job was recorded on after something died.
	Part int `json:"part,omitempty"`
	// Earlier are the parts of the job that were recorded before this one, oldest first.
	Earlier []ManifestEarlier `json:"earlier_parts,omitempty"`
	// Pauses are what clients left out, Incidents what went wrong and was lived through.
	Pauses    []recorder.Span     `json:"pauses,omitempty"`
	Incidents []recorder.Incident `json:"incidents,omitempty"`
	// What the manifest lies beside: one output, or all of the job.
	Files     []ManifestFile     `json:"files,omitempty"`
	Playlists []ManifestPlaylist `json:"playlists,omitempty"`
	Images    []ManifestPart     `json:"images,omitempty"`
	Metadata  map[string]string  `json:"metadata,omitempty"`
}

// ManifestEarlier is an earlier part of the same job, which has manifests of its own.
type ManifestEarlier struct {
	Part int `json:"part"`
	// StartedAt and EndedAt span the media, ns since the Unix epoch.
	StartedAt int64              `json:"started_at,omitempty"`
	EndedAt   int64              `json:"ended_at,omitempty"`
	EndReason recorder.EndReason `json:"end_reason,omitempty"` // why it is not the last part
	Files     []ManifestFile     `json:"files,omitempty"`
}

// ManifestPlaylist is an HLS stream.
type ManifestPlaylist struct {
	Filename string         `json:"filename"`
	Location string         `json:"location"`
	Size     int64          `json:"size"`               // bytes of all segments
	Duration int64          `json:"duration,omitempty"` // ns
	Segments []ManifestPart `json:"segments"`
}

// ManifestPart is a segment or an image.
type ManifestPart struct {
	Filename string `json:"filename"`
	Location string `json:"location"`
	// Timestamp is when it was closed.
	Timestamp time.Time `json:"timestamp"`
	Size      int64     `json:"size"` // bytes
	SHA256    string    `json:"sha256"`
}

// ManifestFile is the file a manifest lies beside.
type ManifestFile struct {
	Filename string `json:"filename"`
	Location string `json:"location"`
	Size     int64  `json:"size"`               // bytes
	Duration int64  `json:"duration,omitempty"` // ns
	SHA256   string `json:"sha256"`             // hex
	Partial  bool   `json:"partial,omitempty"`  // not finalised: plays up to the crash
	// State is that of an earlier part's file that was not delivered when the manifest was
	// written: its other facts are of then.
	State  recorder.FileState `json:"state,omitempty"`
	Codecs []string           `json:"codecs,omitempty"`
	Width  int                `json:"width,omitempty"` // pixels
	Height int                `json:"height,omitempty"`
}

// manifestOf says what is known of a recording; span is that of the output.
func manifestOf(rec recorder.Recording, startedAt, endedAt int64) Manifest {
	var earlier []ManifestEarlier
	for _, p := range rec.Earlier {
		e := ManifestEarlier{Part: p.Part, StartedAt: p.StartedAt, EndedAt: p.EndedAt, EndReason: p.EndReason}
		for _, f := range p.Files {
			file := manifestFile(f)
			if f.State != recorder.FileDelivered {
				file.State = f.State
			}
			e.Files = append(e.Files, file)
		}
		earlier = append(earlier, e)
	}
	pauses, incidents := rec.Until(cmp.Or(rec.EndedAt, endedAt, math.MaxInt64))
	return Manifest{
		EgressID: rec.ID, RoomID: cmp.Or(rec.RoomID, rec.Metadata["room_id"], rec.RoomName), RoomName: rec.RoomName, URL: rec.URL,
		Layout: rec.Layout, StartedAt: cmp.Or(startedAt, rec.StartedAt), EndedAt: cmp.Or(endedAt, rec.EndedAt),
		EndReason: rec.EndReason, Part: rec.Part, Metadata: rec.Metadata,
		Earlier: earlier, Pauses: pauses, Incidents: incidents,
	}
}

func newManifest(rec recorder.Recording, f recorder.FileResult, j progress) Manifest {
	f.Filename, f.Location = j.Placed.Filename, j.Placed.Location
	f.Size, f.SHA256 = j.Digest.Size, j.Digest.SHA256
	m := manifestOf(rec, f.StartedAt, f.EndedAt)
	m.Files = []ManifestFile{manifestFile(f)}
	return m
}

func manifestFile(f recorder.FileResult) ManifestFile {
	return ManifestFile{
		Filename: f.Filename, Location: f.Location, Size: f.Size, SHA256: f.SHA256,
		Duration: f.Duration, Partial: f.Partial, Codecs: f.Codecs, Width: f.Width, Height: f.Height,
	}
}

// manifest stores <file>.json beside the file, replacing an older one. A
// presigned URL has no place for it.
func (d *delivery) manifest(ctx context.Context, st store, j *journal) error {
	if d.where(j) == (Storage{}) || (d.i < len(d.task.Job.Files) && d.task.Job.Files[d.i].DisableManifest) {
		return nil
	}
	where, err := d.entry.putManifest(ctx, st, fmt.Sprintf("%d", d.i), j.Placed.Name+".json", newManifest(d.rec, d.file, j.progress))
	if err == nil {
		j.update(func(p *progress) { p.Manifest = where })
	}
	return err
}

// putManifest stores one under name and gives its location. of tells it from
// the entry's other ones.
func (e *entry) putManifest(ctx context.Context, st store, of, name string, m Manifest) (string, error) {
	return e.sendManifest(ctx, st, of, name, m, true)
}

func (e *entry) sendManifest(ctx context.Context, st store, of, name string, m Manifest, overwrite bool) (string, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	path := e.path("manifest-" + of + ".json")
	if err := writeFile(path, append(data, '\n')); err != nil {
		return "", manifestFault(diskFault(err))
	}
	sums, err := measure(ctx, path, st.plan(int64(len(data)+1)))
	if err != nil {
		return "", manifestFault(diskFault(err))
	}
	p, err := st.put(ctx, &object{
		path: path, name: name, contentType: "application/json", overwrite: overwrite, exact: true,
		id: m.EgressID + "-" + of + "-manifest", digest: sums, journal: &journal{},
	})
	return p.Location, manifestFault(err)
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
