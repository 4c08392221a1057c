package child

import (
	"encoding/json"

	"tapedeck/recorder"
)

// hello is the first line to a child.
type hello struct {
	Task     recorder.Task   `json:"task"`
	Settings json.RawMessage `json:"settings"`
}

// line is every later line to a child: a command, or the end of the context
// that its recording runs in, which is no command: a client's stop after it is
// the first.
type line struct {
	Command recorder.Command `json:"command,omitzero"`
	Cancel  *recorder.Stop   `json:"cancel,omitempty"`
}

// answer is a line from a child. Final marks the last one.
type answer struct {
	Recording recorder.Recording `json:"recording"`
	Final     bool               `json:"final,omitempty"`
}
