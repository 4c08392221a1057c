package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tapedeck/recorder"
)

// Trial is what was seen of a template page in a rehearsed room. Its times count
// from the page's being asked for, as those of the observations do; 0 is never.
type Trial struct {
	// Identity is whom the page was to join as.
	Identity string
	// Given names the parameters of the page's address, Own those of them that were
	// in the template's own URL.
	Given, Own []string
	// BuiltIn says that the page is Tapedeck's own, which may ask for more than this
	// job gives it.
	BuiltIn      bool
	Observations []recorder.Observation
	Guest        Guest
	Layouts      []LayoutChange
	// EndedAt is when the room ended, by How: "the room was deleted". EndAwaited is
	// how long END_RECORDING was waited for after that.
	EndedAt, EndAwaited time.Duration
	How                 string
	// EndUntested says why the room was not ended.
	EndUntested string
	// Watched says that somebody looked at the page in a window, who may close it.
	Watched bool
	// GaveUpAt is when START_RECORDING was not waited for any more.
	GaveUpAt time.Duration
	// Interrupted says that the trial was ended before the page had started.
	Interrupted bool
	// Failure is why there is no recording, or no whole one; empty when there was to be none.
	Failure string
}

// Guest is what the server knows of the page's participant.
type Guest struct {
	AbsentUntil time.Duration // the last look at which it had not come
	SeenAt      time.Duration // the first at which it had
	Hidden      bool
	Publishes   bool
	// Unasked says why the server could not be asked; nothing is known then.
	Unasked string
	// Strangers are the participants nobody invited, where the room is ours alone.
	Strangers []string
}

// LayoutChange is one that the page was told while it showed the room.
type LayoutChange struct {
	Layout string
	At     time.Duration
	Err    string // why it could not be told
	// Change is by how much the picture changed, 0 to 1; negative when not known.
	Change float64
}

// Level is how bad a finding is.
type Level string

// The levels. A page without a fault can be recorded.
const (
	LevelOK      Level = "ok"
	LevelWarning Level = "warning"
	LevelFault   Level = "fault"
)

// Finding is one line of a verdict.
type Finding struct {
	Level  Level  `json:"level"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"` // what the page's author can do
}

// Worst gives the level of a verdict.
func Worst(findings []Finding) Level {
	worst := LevelOK
	for _, f := range findings {
		if f.Level == LevelFault || worst == LevelOK {
			worst = f.Level
		}
		if worst == LevelFault {
			break
		}
	}
	return worst
}

// What a page's author should know of those who wait for it.
const (
	// lateStart is when most control planes have given up.
	lateStart = 10 * time.Second
	// smallChange is what moving pictures change by themselves.
	smallChange = 0.02
	// mostLines is how many lines of one kind a verdict quotes.
	mostLines = 5
)

// Judge says what was right and wrong with a page.
func Judge(t Trial) []Finding {
	j := &judge{Trial: t}
	if j.load() {
		j.parameters()
		j.presence()
		j.start()
		j.layouts()
		j.end()
	}
	j.troubles()
	j.secrets()
	if t.Failure != "" {
		j.fault("the recording failed: "+t.Failure, "")
	}
	return j.findings
}

type judge struct {
	Trial
	findings []Finding
}

func (j *judge) ok(format string, args ...any) {
	j.findings = append(j.findings, Finding{Level: LevelOK, Text: fmt.Sprintf(format, args...)})
}

func (j *judge) warn(text, remedy string) {
	j.findings = append(j.findings, Finding{Level: LevelWarning, Text: text, Remedy: remedy})
}

func (j *judge) fault(text, remedy string) {
	j.findings = append(j.findings, Finding{Level: LevelFault, Text: text, Remedy: remedy})
}

// of gives the observations of one kind.
func (j *judge) of(kind recorder.ObservationKind) []recorder.Observation {
	var found []recorder.Observation
	for _, o := range j.Observations {
		if o.Kind == kind {
			found = append(found, o)
		}
	}
	return found
}

// marker gives the first such marker.
func (j *judge) marker(m recorder.Marker) (recorder.Observation, bool) {
	for _, o := range j.of(recorder.ObservedMarker) {
		if o.Text == string(m) {
			return o, true
		}
	}
	return recorder.Observation{}, false
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// load reports whether there is a page to judge.
func (j *judge) load() bool {
	documents := j.of(recorder.ObservedDocument)
	for _, o := range documents {
		if o.Level == "error" {
			j.fault("the page did not load: "+o.Text, "open the template's address in a browser of your own: it has to answer with a status below 400")
			return false
		}
	}
	loaded, ok := j.marker(recorder.MarkerLoaded)
	switch {
	case len(documents) == 0 && j.Interrupted:
		j.warn("the trial was ended before the page's server had answered", "give it some seconds longer")
		return false
	case len(documents) == 0:
		j.fault("the page did not load: its server did not answer", "start the template's server, and look whether its address is right")
		return false
	case !ok:
		j.warn("the page's load event never came", "something it needs keeps loading; START_RECORDING counts without, but look at what hangs")
	case documents[0].Status == 0:
		j.ok("the page loaded in %s", seconds(loaded.After))
	default:
		j.ok("the page answered HTTP %d and loaded in %s", documents[0].Status, seconds(loaded.After))
	}
	return true
}

// asked gives the parameters that the page's scripts asked for, and whether they
// may have used any others.
func (j *judge) asked() (names []string, unknown bool) {
	for _, o := range j.of(recorder.ObservedParameter) {
		if o.Text == recorder.AnyParameter {
			unknown = true
		} else if !slices.Contains(names, o.Text) {
			names = append(names, o.Text)
		}
	}
	return names, unknown
}

func (j *judge) parameters() {
	names, unknown := j.asked()
	if unknown {
		defer j.ok("the page takes its whole address apart: what else it uses cannot be seen")
	}
	var used []string
	for _, name := range names {
		if slices.Contains(j.Given, name) {
			used = append(used, "`"+name+"`")
		}
	}
	if len(used) > 0 {
		j.ok("the page asked its address for %s", strings.Join(used, ", "))
	}
	if !unknown {
		j.unasked(names)
	}
	var missing []string
	for _, name := range names {
		if !slices.Contains(j.Given, name) && !j.BuiltIn {
			missing = append(missing, "`"+name+"`")
		}
	}
	if len(missing) > 0 {
		j.ok("the page also asked for %s, which a recorder does not give: what it needs belongs into the template's own URL", strings.Join(missing, ", "))
	}
}

// unasked complains of what a recorder gives in vain.
func (j *judge) unasked(names []string) {
	for _, name := range []string{"url", "token"} {
		if slices.Contains(j.Given, name) && !slices.Contains(names, name) && j.Guest.SeenAt == 0 {
			j.warn(fmt.Sprintf("no script of the page asked for `%s`", name),
				fmt.Sprintf("read it from the address: new URLSearchParams(location.search).get('%s')", name))
		}
	}
	if slices.Contains(j.Given, "layout") && !slices.Contains(names, "layout") && !slices.Contains(names, "template") {
		j.warn("no script of the page asked for `layout`: the layout that a job names is ignored",
			"choose the layout by new URLSearchParams(location.search).get('layout'), if there is more than one")
	}
}

func (j *judge) presence() {
	g := j.Guest
	switch {
	case g.SeenAt != 0:
		j.ok("joined the room as %s after %s", j.Identity, seconds(g.SeenAt))
	case g.Unasked != "":
		j.warn("whether the page joined the room is not known: "+g.Unasked, "")
	default:
		j.fault("never joined the room as "+j.Identity, "connect to `url` with `token`: await room.connect(url, token)")
	}
	if g.SeenAt != 0 && !g.Hidden {
		j.fault(j.Identity+" is not hidden: everybody in the room sees the recorder", "connect with the `token` of the address, not with one of the page's own")
	}
	if g.Publishes {
		j.fault(j.Identity+" publishes into the room", "a recorder looks and listens; take the page's own camera and microphone out")
	}
	if len(g.Strangers) > 0 {
		j.warn("somebody nobody invited was in the room: "+strings.Join(g.Strangers, ", "),
			"if that is the page: connect with the `token` of the address, not with one of its own")
	}
}

func (j *judge) start() {
	for _, o := range j.of(recorder.ObservedPageError) {
		j.fault("div.error: "+o.Text, "the page gave up; where that is wrong, take the class `error` off that div")
	}
	o, ok := j.marker(recorder.MarkerStart)
	if !ok {
		text := "START_RECORDING never came"
		if j.GaveUpAt != 0 {
			text += " (waited " + seconds(j.GaveUpAt) + ")"
		}
		j.fault(text, "console.log('START_RECORDING') once the room is on screen, and after a while in a room where nobody publishes")
		return
	}
	switch {
	case o.After > lateStart:
		j.warn(fmt.Sprintf("START_RECORDING after %s: later than the %.0f s most control planes wait", seconds(o.After), lateStart.Seconds()),
			"start when the first picture is there; do not wait for everybody")
	default:
		j.ok("START_RECORDING after %s", seconds(o.After))
	}
	if o.After < j.Guest.AbsentUntil && j.Guest.SeenAt != 0 {
		j.warn(fmt.Sprintf("START_RECORDING came before the page was in the room (%s): the recording begins without anybody", seconds(j.Guest.SeenAt)),
			"log it when the first track is subscribed and drawn")
	}
}

func (j *judge) layouts() {
	for _, l := range j.Layouts {
		switch {
		case l.Err != "":
			j.warn(fmt.Sprintf("layout %s could not be told to the page: %s", l.Layout, l.Err), "")
		case l.Change < 0:
			j.ok("layout %s at %s", l.Layout, seconds(l.At))
		case l.Change < smallChange:
			j.warn(fmt.Sprintf("layout %s at %s: the picture hardly changed", l.Layout, seconds(l.At)),
				"listen for RoomEvent.ParticipantMetadataChanged of the local participant: its metadata is {\"layout\":\""+l.Layout+"\"}")
		default:
			j.ok("layout %s at %s: the picture changed by %.0f %%", l.Layout, seconds(l.At), 100*l.Change)
		}
	}
}

// reasons are those that a page may give beside END_RECORDING.
func reasons() []string {
	var all []string
	for _, r := range []recorder.EndReason{recorder.EndRoomClosed, recorder.EndRoomEmpty, recorder.EndRemoved, recorder.EndConnectionLost} {
		all = append(all, string(r))
	}
	return all
}

func (j *judge) end() {
	o, ok := j.marker(recorder.MarkerEnd)
	switch {
	case ok && (j.EndedAt == 0 || o.After < j.EndedAt):
		j.fault(fmt.Sprintf("END_RECORDING after %s, while the room went on", seconds(o.After)),
			"log it on RoomEvent.Disconnected, or when everybody has been gone for a while")
	case ok:
		j.ok("END_RECORDING %s after %s%s", seconds(o.After-j.EndedAt), j.How, noted(o.Note))
	case j.closed() && j.EndedAt != 0:
		j.ok("the page closed its tab after %s, which ends a recording as well", j.How)
	case j.closed():
		j.fault("the page closed its tab while the room went on", "a recording ends with it: close it when the room is over")
	case j.EndedAt != 0:
		j.fault(fmt.Sprintf("END_RECORDING did not come within %s after %s", seconds(j.EndAwaited), j.How),
			"room.on(RoomEvent.Disconnected, () => console.log('END_RECORDING')): without it the recording goes on with whatever the page shows")
	case j.EndUntested != "":
		j.ok("END_RECORDING was not tested: %s", j.EndUntested)
	}
	if o.Note != "" && !slices.Contains(reasons(), o.Note) {
		j.warn(fmt.Sprintf("END_RECORDING came with the reason %q, which means nothing to a recorder", o.Note), "give one of "+strings.Join(reasons(), ", ")+", or none")
	}
}

// closed reports whether the page closed its tab by itself.
func (j *judge) closed() bool { return len(j.of(recorder.ObservedClosed)) > 0 && !j.Watched }

func noted(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}

// troubles tells what went wrong on the page before the room's end; what a page
// complains of after that harms no recording, nor does the want of an icon, which
// Chrome asks for by itself.
func (j *judge) troubles() {
	if crash := j.of(recorder.ObservedCrash); len(crash) > 0 {
		j.fault("the tab crashed after "+seconds(crash[0].After), "the page uses too much memory, or has found a fault of Chrome's; look at its memory in the developer tools")
	}
	j.lines("uncaught exception", recorder.ObservedException, "", "catch it: what comes after it in the page does not happen")
	j.lines("did not load", recorder.ObservedResource, "", "mend the address, or leave it out: a recorder may not reach what your own browser does")
	j.lines("console error", recorder.ObservedConsole, "error", "")
}

func (j *judge) lines(what string, kind recorder.ObservationKind, level, remedy string) {
	var found []recorder.Observation
	for _, o := range j.of(kind) {
		harmless := j.EndedAt != 0 && o.After >= j.EndedAt || strings.HasSuffix(o.Source, "/favicon.ico")
		if (level == "" || o.Level == level) && !harmless {
			found = append(found, o)
		}
	}
	for i, o := range found {
		if i == mostLines {
			j.warn(fmt.Sprintf("%s: %d more", what, len(found)-i), "")
			return
		}
		text := fmt.Sprintf("%s after %s: %s", what, seconds(o.After), o.Text)
		if o.Source != "" {
			text += " (" + o.Source + ")"
		}
		j.warn(text, remedy)
	}
}

// secrets looks for values of the address on the console, which those who record
// keep in states and logs. Server and layout of a room are none.
func (j *judge) secrets() {
	told := map[string]bool{}
	for _, o := range j.Observations {
		for _, name := range o.Leaks {
			if told[name] {
				continue
			}
			told[name] = true
			switch {
			case name == "token":
				j.fault("logged the token (secret) to the console after "+seconds(o.After), "do not log the page's address or options")
			case slices.Contains(j.Own, name):
				j.warn(fmt.Sprintf("logged the value of `%s` to the console after %s", name, seconds(o.After)), "if that is a secret, do not log it")
			}
		}
	}
}
