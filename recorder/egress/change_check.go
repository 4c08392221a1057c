package egress

import (
	"errors"
	"slices"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// notRemoved leaves out what was removed before: this may be a repetition.
func notRemoved(rec recorder.Recording, names []string) []string {
	on := live(rec)
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(rec.Streams, func(s recorder.StreamResult) bool {
			return (s.ID == name || s.ID == recorder.StreamID(name)) && !slices.Contains(on, s.ID)
		})
	})
}

// checkUpdate refuses what the worker would, since that one answers nobody. It
// counts the outputs that are left.
func checkUpdate(rec recorder.Recording, u recorder.Update) (left int, err error) {
	if u.Layout != "" {
		if err := checkLayout(rec, u.Layout); err != nil {
			return 0, err
		}
	}
	streams, err := leftOf(rec, u)
	return len(streams) + len(rec.Files) + len(rec.Segments) + len(rec.Images), err
}

// shows reports whether a recording is as an update wants it. A stream that was
// over before is not on again until it is, or has ended once more.
func shows(before, now recorder.Recording, u recorder.Update) bool {
	on := live(now)
	for _, url := range u.AddStreamURLs {
		id := recorder.StreamID(url)
		if !slices.Contains(on, id) && endOf(before, id) == endOf(now, id) {
			return false
		}
	}
	return carriedOut(now, u) && (u.Layout == "" || now.Layout == u.Layout)
}

// endOf tells when a stream ended; 0 for one that did not, or is unknown.
func endOf(rec recorder.Recording, id string) int64 {
	for _, s := range rec.Streams {
		if s.ID == id {
			return s.EndedAt
		}
	}
	return 0
}

// checkLayout refuses at once what the worker would refuse.
func checkLayout(rec recorder.Recording, layout string) error {
	if rec.RoomName == "" {
		return invalid("layout", "the egress records a web page, and only the template page of a room has layouts")
	}
	job := recorder.Job{Source: recorder.Source{RoomName: rec.RoomName, Layout: layout, CustomBaseURL: rec.URL}}
	if Info(rec).SourceType == livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK {
		job.Identity = "somebody"
	}
	var faults recorder.Faults
	if errors.As(job.Validate(), &faults) {
		for _, f := range faults {
			if f.Field == "layout" {
				return recorder.Faults{f}
			}
		}
	}
	return nil
}

// leftOf gives the ids of the streams there are after an update.
func leftOf(rec recorder.Recording, u recorder.Update) ([]string, error) {
	left := live(rec)
	for _, raw := range u.RemoveStreamURLs {
		i := slices.IndexFunc(left, func(id string) bool { return id == raw || id == recorder.StreamID(raw) })
		if i < 0 && rec.Status != recorder.StatusActive {
			continue // it may be among what waits to be added
		}
		if i < 0 {
			return nil, recorder.Errorf(recorder.CodeNotFound, "stream %s not found", recorder.RedactStreamURL(raw))
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, raw := range u.AddStreamURLs {
		if id := recorder.StreamID(raw); !slices.Contains(left, id) {
			left = append(left, id)
		}
	}
	if len(left) > recorder.MaxStreamURLs {
		return nil, invalid("add_output_urls", "the egress would have %d streams, and may have %d: remove some", len(left), recorder.MaxStreamURLs)
	}
	return left, nil
}

func live(rec recorder.Recording) []string {
	var ids []string
	for _, s := range rec.Streams {
		if s.State != recorder.StreamFinished && s.State != recorder.StreamFailed {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// carriedOut reports whether an update is seen in the recording.
func carriedOut(rec recorder.Recording, u recorder.Update) bool {
	for _, raw := range u.AddStreamURLs {
		id := recorder.StreamID(raw)
		if !slices.ContainsFunc(rec.Streams, func(s recorder.StreamResult) bool { return s.ID == id }) {
			return false
		}
	}
	left := live(rec)
	return !slices.ContainsFunc(u.RemoveStreamURLs, func(raw string) bool {
		return slices.Contains(left, raw) || slices.Contains(left, recorder.StreamID(raw))
	})
}
