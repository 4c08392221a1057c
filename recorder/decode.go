package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// LargestJob bounds a job's JSON, in bytes.
const LargestJob = 256 << 10

// ParseJob reads a job's JSON strictly and validates it: every unknown key,
// wrong type and bad value is reported at once, as Faults.
func ParseJob(data []byte) (Job, error) {
	job, err := DecodeJob(data)
	if err != nil {
		return Job{}, err
	}
	return job, job.Validate()
}

// DecodeJob reads a job's JSON strictly, but leaves its values to Validate: for
// a job that is not whole yet.
func DecodeJob(data []byte) (Job, error) {
	var job Job
	err := decodeStrict(data, &job)
	return job, err
}

// validateSize keeps a job that came through any door within what decodeStrict takes.
func (j Job) validateSize(f *Faults) {
	if text, err := json.Marshal(j); err == nil && len(text) > LargestJob {
		f.add("job", fmt.Sprintf("%d bytes", len(text)), "at most %d bytes as JSON: shorten it", LargestJob)
	}
}

// decodeStrict decodes one JSON object. encoding/json stops at the first
// unknown key or wrong type; a control plane's author wants them all.
func decodeStrict(data []byte, into any) error {
	var f Faults
	if len(data) > LargestJob {
		f.add("job", fmt.Sprintf("%d bytes", len(data)), "at most %d bytes: shorten it", LargestJob)
		return f
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		f.add("job", nil, "is no JSON: %s", jsonProblem(err))
		return f
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		f.add("job", nil, "holds more after its closing brace: send one JSON object")
		return f
	}
	if _, ok := tree.(map[string]any); !ok {
		f.add("job", nil, "is no JSON object: write {\"url\": …, \"file_outputs\": […]}")
		return f
	}
	checkShape(&f, "", tree, reflect.TypeOf(into).Elem())
	if len(f) > 0 {
		return f
	}
	if err := json.Unmarshal(data, into); err != nil {
		f.add("job", nil, "%s", ScrubText(err.Error()))
	}
	return f.errOrNil()
}

func jsonProblem(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("%s at byte %d", syntax.Error(), syntax.Offset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends too early"
	}
	return ScrubText(err.Error())
}

// checkShape compares a decoded tree with the type it is meant for.
func checkShape(f *Faults, at string, value any, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil {
		return
	}
	switch t {
	case reflect.TypeFor[Duration]():
		checkDuration(f, at, value)
		return
	case reflect.TypeFor[json.RawMessage]():
		return // opaque
	}
	switch t.Kind() {
	case reflect.Struct:
		checkStruct(f, at, value, t)
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			f.add(at, kindOf(value), "is no list: write […]")
		}
		for i, v := range list {
			checkShape(f, fmt.Sprintf("%s[%d]", at, i), v, t.Elem())
		}
	case reflect.Map:
		m, ok := value.(map[string]any)
		if !ok {
			f.add(at, kindOf(value), "is no object: write {\"key\": \"value\"}")
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			checkShape(f, at+"."+k, m[k], t.Elem())
		}
	default:
		checkScalar(f, at, value, t.Kind())
	}
}

func checkStruct(f *Faults, at string, value any, t reflect.Type) {
	m, ok := value.(map[string]any)
	if !ok {
		f.add(at, kindOf(value), "is no object: write {…}")
		return
	}
	fields := jsonFields(t)
	known := slices.Sorted(maps.Keys(fields))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		path := strings.TrimPrefix(at+"."+k, ".")
		if ft, ok := fields[k]; ok {
			checkShape(f, path, m[k], ft)
		} else {
			f.add(path, nil, "unknown key: known here are %s", strings.Join(known, ", "))
		}
	}
}

func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		switch {
		case sf.Anonymous && name == "":
			for n, ft := range jsonFields(sf.Type) {
				fields[n] = ft
			}
		case name != "" && name != "-":
			fields[name] = sf.Type
		}
	}
	return fields
}

func checkDuration(f *Faults, at string, value any) {
	var d Duration
	switch v := value.(type) {
	case string:
		if err := d.UnmarshalText([]byte(v)); err != nil {
			f.add(at, v, "is no duration: write \"90s\", \"1h30m\" or a number of seconds")
		}
	case json.Number:
		if err := d.UnmarshalText([]byte(v)); err != nil {
			f.add(at, v, "is no duration: write \"90s\", \"1h30m\" or a number of seconds")
		}
	default:
		f.add(at, kindOf(value), "is no duration: write \"90s\", \"1h30m\" or a number of seconds")
	}
}

func checkScalar(f *Faults, at string, value any, kind reflect.Kind) {
	switch kind {
	case reflect.String:
		if _, ok := value.(string); !ok {
			f.add(at, kindOf(value), "is no text: write it in quotes")
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			f.add(at, kindOf(value), "is no truth value: write true or false")
		}
	case reflect.Int, reflect.Int64:
		n, ok := value.(json.Number)
		if !ok {
			f.add(at, kindOf(value), "is no number")
		} else if _, err := n.Int64(); err != nil {
			f.add(at, n, "is no whole number")
		}
	case reflect.Float64:
		n, ok := value.(json.Number)
		if !ok {
			f.add(at, kindOf(value), "is no number")
		} else if _, err := n.Float64(); err != nil {
			f.add(at, n, "is out of range")
		}
	}
}

// kindOf names what a value is without showing it: it may be a secret in the wrong place.
func kindOf(value any) string {
	switch value.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "a truth value"
	default:
		return "a number"
	}
}
