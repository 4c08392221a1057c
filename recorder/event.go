package recorder

// EventType names what happened to a job.
type EventType string

// The events of docs/queue.md.
const (
	EventQueued  EventType = "recording_queued"
	EventStarted EventType = "recording_started" // became active
	EventUpdated EventType = "recording_updated" // any other change worth knowing
	EventEnded   EventType = "recording_ended"   // exactly once a job
	EventAmended EventType = "recording_amended" // a file of an ended job arrived after all
)

// Event is one entry of the event stream.
type Event struct {
	// ID orders events; the queue gives it.
	ID        string    `json:"id,omitempty"`
	Type      EventType `json:"type"`
	At        int64     `json:"at"` // ns since the Unix epoch
	Recording Recording `json:"recording"`
}

// EventFor names the event of a change from one status to another.
func EventFor(from, to Status) EventType {
	switch {
	case to.Ended():
		return EventEnded
	case to == StatusActive && from != StatusActive:
		return EventStarted
	case to == StatusQueued && from == "":
		return EventQueued
	default:
		return EventUpdated
	}
}
