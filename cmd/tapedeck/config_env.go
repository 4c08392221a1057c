package main

import (
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/caarlos0/env/v11"

	"tapedeck/recorder"
)

// readEnvironment takes over what TAPEDECK_* variables say.
func readEnvironment(into *Config) error {
	opts := env.Options{Prefix: "TAPEDECK_"}
	err := env.ParseWithOptions(into, opts)
	if err == nil {
		return nil
	}
	// The library names fields of Go: which variable it is shows when each is alone.
	fields, _ := env.GetFieldParamsWithOptions(&Config{}, opts) // of one struct, whose tags are right
	var wrong []error
	for _, f := range fields {
		value, set := os.LookupEnv(f.Key)
		if !set {
			continue
		}
		opts.Environment = map[string]string{f.Key: value}
		var unreadable env.ParseError
		if errors.As(env.ParseWithOptions(&Config{}, opts), &unreadable) {
			wrong = append(wrong, fmt.Errorf("%s: %s", f.Key, recorder.ScrubText(misread(unreadable, value))))
		}
	}
	if len(wrong) == 0 {
		wrong = append(wrong, fmt.Errorf("TAPEDECK_* variables: %s", recorder.ScrubText(err.Error())))
	}
	return usageError{errors.Join(wrong...)}
}

// misread says what is wrong with a variable's value, and what it may be.
func misread(e env.ParseError, value string) string {
	kind := e.Type.String()
	switch t := e.Type; {
	case t == reflect.TypeFor[time.Duration]():
		kind = "a duration such as 90s, 10m or 1h"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return e.Err.Error() // our own, which says it all
	case t.Kind() == reflect.Bool:
		kind = "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		kind = "a whole number"
	}
	return fmt.Sprintf("%q: use %s", value, kind)
}
