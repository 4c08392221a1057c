package upload

import (
	"context"
	"encoding/json"
	"errors"
)

// shelve stores a manifest under a name that several recordings may claim: that of the job, or
// of a series whose names are taken. One whose job is another's by now leaves what lies there,
// unless it tells of all that the older one does: then there is no location.
func (e *entry) shelve(ctx context.Context, st store, of, name string, m Manifest, orphan bool) (string, error) {
	if !orphan {
		return e.putManifest(ctx, st, of, name, m)
	}
	location, err := e.sendManifest(ctx, st, of, name, m, false)
	if !errors.Is(err, errTaken) {
		return location, err
	}
	text, err := readPlaylist(ctx, st, name)
	var there Manifest
	if err != nil || json.Unmarshal([]byte(text), &there) != nil || !m.covers(there) {
		return "", nil //nolint:nilerr // what cannot be read is another's
	}
	return e.putManifest(ctx, st, of, name, m)
}

// covers reports whether m tells of everything that another manifest does.
func (m Manifest) covers(o Manifest) bool {
	told := m.locations()
	for at := range o.locations() {
		if !told[at] {
			return false
		}
	}
	return m.EgressID == o.EgressID
}

// locations are those of all outputs.
func (m Manifest) locations() map[string]bool {
	all := map[string]bool{}
	for _, f := range m.Files {
		all[f.Location] = true
	}
	parts := [][]ManifestPart{m.Images}
	for _, p := range m.Playlists {
		all[p.Location] = true
		parts = append(parts, p.Segments)
	}
	for _, some := range parts {
		for _, p := range some {
			all[p.Location] = true
		}
	}
	return all
}
