package recorder

import "time"

// Observation is one thing that a page said or did, for those who write pages.
// It is free of what looks like a secret.
type Observation struct {
	Kind ObservationKind `json:"kind"`
	// After is how long after Navigate began.
	After time.Duration `json:"after_ns"`
	// Text is what was said; of a document its address, of a parameter its name.
	Text string `json:"text,omitempty"`
	// Level is the console's: "log", "warning", "error", …
	Level string `json:"level,omitempty"`
	// Source is where: "https://host/script.js:12".
	Source string `json:"source,omitempty"`
	// Note is the word beside a marker; see Noter.
	Note string `json:"note,omitempty"`
	// Status is a document's HTTP status; 0 where there is none.
	Status int `json:"status,omitempty"`
	// Leaks names the parameters of the page's address whose values were said.
	Leaks []string `json:"leaks,omitempty"`
}

// ObservationKind says what was observed.
type ObservationKind string

// The kinds of observation.
const (
	ObservedNavigate  ObservationKind = "navigate"   // the page is asked for, for the first time or again
	ObservedDocument  ObservationKind = "document"   // a document is there, or says in Text why it is not
	ObservedMarker    ObservationKind = "marker"     // Text is the marker
	ObservedConsole   ObservationKind = "console"    // a line of the console, the browser's own included
	ObservedException ObservationKind = "exception"  // an uncaught one
	ObservedResource  ObservationKind = "resource"   // something the page needs did not load
	ObservedPageError ObservationKind = "page_error" // div.error
	ObservedParameter ObservationKind = "parameter"  // a script asked the page's address for this parameter; see AnyParameter
	ObservedCrash     ObservationKind = "crash"      // the tab's renderer is gone
	ObservedClosed    ObservationKind = "closed"     // the tab is gone
)

// AnyParameter stands for a parameter's name where a script took the whole
// address apart: which ones it used is not known.
const AnyParameter = "*"
