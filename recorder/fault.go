package recorder

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a job or a setting.
type Fault struct {
	Field  string `json:"field"`  // path such as file_outputs[0].filepath
	Value  string `json:"value"`  // as given, redacted where it may be a secret
	Remedy string `json:"remedy"` // what would be right
}

func (f Fault) String() string {
	if f.Value == "" {
		return fmt.Sprintf("%s: %s", f.Field, f.Remedy)
	}
	return fmt.Sprintf("%s: %q: %s", f.Field, f.Value, f.Remedy)
}

// Faults is every fault of one job. As an error it has CodeInvalid.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "; ")
}

// errOrNil keeps an empty list from becoming a non-nil error.
func (f Faults) errOrNil() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

func (f *Faults) add(field string, value any, remedy string, args ...any) {
	text := fmt.Sprint(value)
	if value == nil {
		text = ""
	}
	*f = append(*f, Fault{Field: brief(field), Value: brief(text), Remedy: fmt.Sprintf(remedy, args...)})
}

// brief bounds what a fault quotes: a key or a value may be the whole job long.
func brief(s string) string {
	const longest = 120
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
