package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"tapedeck/recorder/upload"
)

// openSpool opens the spool for somebody who only looks at what is there: nil, and a word about
// it, when there is none. A directory that was mistyped is not made.
func (a *app) openSpool(opts upload.Options) (*upload.Spool, error) {
	if _, err := os.Stat(a.config.Spool); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(a.err, "spool: %q: does not exist: nothing was recorded here yet, or another directory is meant (config spool, TAPEDECK_SPOOL)\n", a.config.Spool)
		return nil, nil
	}
	return upload.NewSpool(a.config.Spool, opts)
}

// notNegative refuses a duration that looks into the future.
func notNegative(flag string, d time.Duration) error {
	if d < 0 {
		return usageError{fmt.Errorf("%s: %s: give 0 or more, such as 10m", flag, d)}
	}
	return nil
}
