package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"tapedeck/recorder"
	"tapedeck/recorder/rehearsal"
)

// journal takes what the page does, from the goroutine that reads the browser's
// events, and holds it for the one that acts on it.
type journal struct {
	scrub recorder.Scrubber // set before there is a page
	more  chan struct{}     // holds one when something new is there

	mu   sync.Mutex
	kept []recorder.Observation
	read int
}

func (j *journal) write(o recorder.Observation) {
	if o.Kind != recorder.ObservedNavigate && o.Kind != recorder.ObservedDocument { // those tell the parameters' names
		o.Text, o.Source = j.scrub.Text(o.Text), j.scrub.Text(o.Source)
	}
	j.mu.Lock()
	j.kept = append(j.kept, o)
	j.mu.Unlock()
	select {
	case j.more <- struct{}{}:
	default:
	}
}

// take gives what is new.
func (j *journal) take() []recorder.Observation {
	j.mu.Lock()
	defer j.mu.Unlock()
	fresh := slices.Clone(j.kept[j.read:])
	j.read = len(j.kept)
	return fresh
}

func (j *journal) all() []recorder.Observation {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.kept)
}

// trialPrinter tells what happens as it happens.
type trialPrinter struct {
	w     io.Writer
	quiet bool
}

func (p *trialPrinter) say(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *trialPrinter) at(after time.Duration, text string) {
	p.say("%7.1f s  %s", after.Seconds(), text)
}

// observed tells what is worth it: of the console, what is wrong.
func (p *trialPrinter) observed(o recorder.Observation) {
	text := o.Text
	switch o.Kind {
	case recorder.ObservedNavigate:
		text = "open " + text
	case recorder.ObservedDocument:
		if o.Status != 0 {
			text = fmt.Sprintf("HTTP %d %s", o.Status, text)
		}
	case recorder.ObservedMarker:
		text = strings.TrimSpace(text + " " + o.Note)
	case recorder.ObservedParameter:
		if text = "asked for `" + text + "`"; o.Text == recorder.AnyParameter {
			text = "took its whole address apart"
		}
	case recorder.ObservedPageError:
		text = "div.error: " + text
	case recorder.ObservedConsole:
		if o.Level != "error" && o.Level != "warning" && o.Level != "assert" && !slices.Contains(o.Leaks, "token") {
			return
		}
		text = "console " + o.Level + ": " + text
	case recorder.ObservedResource:
		text = "did not load: " + text
	}
	if o.Source != "" {
		text += " (" + o.Source + ")"
	}
	p.at(o.After, text)
}

// parameterNames gives the names in an address's query.
func parameterNames(address string) []string {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	var names []string
	for name := range u.Query() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// trialResult is what --json prints.
type trialResult struct {
	Verdict      rehearsal.Level        `json:"verdict"`
	Findings     []rehearsal.Finding    `json:"findings"`
	Observations []recorder.Observation `json:"observations"`
	Recording    *recorder.Recording    `json:"recording,omitempty"`
}

// conclude tells the verdict; a fault is an error.
func (t *trial) conclude(seen rehearsal.Trial) error {
	if t.showErr != nil && t.began.IsZero() {
		return t.showErr
	}
	seen.Failure = t.failure()
	findings := rehearsal.Judge(seen)
	worst := rehearsal.Worst(findings)
	if t.json {
		if err := json.NewEncoder(t.app.out).Encode(trialResult{worst, findings, seen.Observations, t.recording}); err != nil {
			return err
		}
	} else {
		t.printVerdict(findings, worst)
	}
	if worst == rehearsal.LevelFault {
		return silentError{errors.New("the page has faults")}
	}
	return nil
}

func (t *trial) printVerdict(findings []rehearsal.Finding, worst rehearsal.Level) {
	t.out.say("")
	count := map[rehearsal.Level]int{}
	for _, f := range findings {
		count[f.Level]++
		t.out.say("%-8s %s", f.Level, f.Text)
		if f.Remedy != "" {
			t.out.say("%-8s   -> %s", "", f.Remedy)
		}
	}
	t.out.say("\nverdict: %s (%d faults, %d warnings)", worst, count[rehearsal.LevelFault], count[rehearsal.LevelWarning])
	if t.recording == nil {
		return
	}
	for _, f := range t.recording.Files {
		if f.State == recorder.FileDelivered {
			t.out.say("recorded: %s (%s, %s)", f.Location, time.Duration(f.Duration).Round(10*time.Millisecond), humanBytes(f.Size))
		}
	}
}

// failure is what went wrong with the recording that is not the page's doing:
// of that the observations tell.
func (t *trial) failure() string {
	if t.showErr != nil {
		return recorder.ScrubText(t.showErr.Error())
	}
	if t.recording == nil || t.recording.Error == nil {
		return ""
	}
	switch t.recording.Error.Code {
	case recorder.CodeStartTimeout, recorder.CodePageLoad, recorder.CodePageError, recorder.CodePageCrashed, recorder.CodePageClosed, recorder.CodeAborted:
		return ""
	default:
		return t.recording.Error.Message
	}
}
