package rehearsal

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder"
)

// good is what is seen of a page that does everything right.
func good() Trial {
	return Trial{
		Identity: "EG_1",
		Given:    []string{"layout", "template", "token", "url"},
		Observations: []recorder.Observation{
			{Kind: recorder.ObservedNavigate},
			{Kind: recorder.ObservedDocument, After: 100 * time.Millisecond, Status: 200},
			{Kind: recorder.ObservedParameter, After: 200 * time.Millisecond, Text: "url"},
			{Kind: recorder.ObservedParameter, After: 200 * time.Millisecond, Text: "token"},
			{Kind: recorder.ObservedParameter, After: 200 * time.Millisecond, Text: "layout"},
			{Kind: recorder.ObservedMarker, After: 900 * time.Millisecond, Text: "LOADED"},
			{Kind: recorder.ObservedMarker, After: 2400 * time.Millisecond, Text: "START_RECORDING"},
			{Kind: recorder.ObservedMarker, After: 20300 * time.Millisecond, Text: "END_RECORDING", Note: "room_closed"},
		},
		Guest:   Guest{AbsentUntil: time.Second, SeenAt: 1200 * time.Millisecond, Hidden: true},
		EndedAt: 20 * time.Second, EndAwaited: 10 * time.Second, How: "the room was deleted",
	}
}

func (t *Trial) without(kind recorder.ObservationKind, text string) {
	var kept []recorder.Observation
	for _, o := range t.Observations {
		if o.Kind != kind || text != "" && o.Text != text {
			kept = append(kept, o)
		}
	}
	t.Observations = kept
}

func (t *Trial) add(o recorder.Observation) { t.Observations = append(t.Observations, o) }

func TestVerdictOnAGoodPage(t *testing.T) {
	findings := Judge(good())
	assert.Equal(t, LevelOK, Worst(findings))
	var lines []string
	for _, f := range findings {
		assert.Empty(t, f.Remedy, f.Text)
		lines = append(lines, f.Text)
	}
	assert.Equal(t, []string{
		"the page answered HTTP 200 and loaded in 0.9 s",
		"the page asked its address for `url`, `token`, `layout`",
		"joined the room as EG_1 after 1.2 s",
		"START_RECORDING after 2.4 s",
		"END_RECORDING 0.3 s after the room was deleted (room_closed)",
	}, lines)
}

// One thing is changed about the good page: one finding, of the level and with the
// words, is to come of it.
func TestVerdicts(t *testing.T) {
	type change = func(t *Trial)
	marker := func(m recorder.Marker, at time.Duration, note string) change {
		return func(t *Trial) {
			t.without(recorder.ObservedMarker, string(m))
			t.add(recorder.Observation{Kind: recorder.ObservedMarker, Text: string(m), After: at, Note: note})
		}
	}
	seen := func(o recorder.Observation) change { return func(t *Trial) { t.add(o) } }
	for name, c := range map[string]struct {
		change change
		level  Level
		text   string
		remedy string
	}{
		"late start": {
			marker(recorder.MarkerStart, 12400*time.Millisecond, ""), LevelWarning,
			"START_RECORDING after 12.4 s: later than the 10 s most control planes wait", "first picture",
		},
		"start before the room": {
			marker(recorder.MarkerStart, 300*time.Millisecond, ""), LevelWarning,
			"START_RECORDING came before the page was in the room (1.2 s)", "first track",
		},
		"no start": {
			func(t *Trial) {
				t.without(recorder.ObservedMarker, "START_RECORDING")
				t.GaveUpAt = 30 * time.Second
			},
			LevelFault, "START_RECORDING never came (waited 30.0 s)", "console.log('START_RECORDING')",
		},
		"no load event": {
			func(t *Trial) { t.without(recorder.ObservedMarker, "LOADED") }, LevelWarning, "load event never came", "keeps loading",
		},
		"no server": {
			func(t *Trial) { t.without(recorder.ObservedDocument, "") }, LevelFault, "its server did not answer", "start the template's server",
		},
		"interrupted": {
			func(t *Trial) {
				t.without(recorder.ObservedDocument, "")
				t.Interrupted = true
			}, LevelWarning, "ended before the page's server had answered", "longer",
		},
		"an error page": {
			seen(recorder.Observation{Kind: recorder.ObservedDocument, Level: "error", Text: "page load error: HTTP status 404 Not Found"}),
			LevelFault, "the page did not load: page load error: HTTP status 404 Not Found", "status below 400",
		},
		"layout not asked for": {
			func(t *Trial) { t.without(recorder.ObservedParameter, "layout") }, LevelWarning, "no script of the page asked for `layout`", "get('layout')",
		},
		"layout asked for by its other name": {
			func(t *Trial) {
				t.without(recorder.ObservedParameter, "layout")
				t.add(recorder.Observation{Kind: recorder.ObservedParameter, Text: "template"})
			},
			LevelOK, "`template`", "",
		},
		"parameters taken apart by hand": {
			func(t *Trial) {
				t.without(recorder.ObservedParameter, "")
				t.add(recorder.Observation{Kind: recorder.ObservedParameter, Text: recorder.AnyParameter})
			},
			LevelOK, "cannot be seen", "",
		},
		"token read by the server alone": {
			func(t *Trial) { t.without(recorder.ObservedParameter, "token") }, LevelOK, "`url`, `layout`", "",
		},
		"a parameter that is not given": {
			seen(recorder.Observation{Kind: recorder.ObservedParameter, Text: "room"}), LevelOK, "also asked for `room`", "",
		},
		"visible": {func(t *Trial) { t.Guest.Hidden = false }, LevelFault, "EG_1 is not hidden", "`token` of the address"},
		"publishing": {
			func(t *Trial) { t.Guest.Publishes = true }, LevelFault, "EG_1 publishes into the room", "looks and listens",
		},
		"a stranger": {
			func(t *Trial) { t.Guest.Strangers = []string{"mallory"} }, LevelWarning, "somebody nobody invited was in the room: mallory", "one of its own",
		},
		"server that does not tell": {
			func(t *Trial) { t.Guest = Guest{Unasked: "no answer"} }, LevelWarning, "is not known: no answer", "",
		},
		"div.error": {
			seen(recorder.Observation{Kind: recorder.ObservedPageError, Text: "the room is full"}), LevelFault, "div.error: the room is full", "class",
		},
		"no end": {
			func(t *Trial) { t.without(recorder.ObservedMarker, "END_RECORDING") }, LevelFault,
			"END_RECORDING did not come within 10.0 s after the room was deleted", "RoomEvent.Disconnected",
		},
		"early end": {
			marker(recorder.MarkerEnd, 8*time.Second, ""), LevelFault, "END_RECORDING after 8.0 s, while the room went on", "RoomEvent.Disconnected",
		},
		"no end to be tested": {
			func(t *Trial) {
				t.without(recorder.ObservedMarker, "END_RECORDING")
				t.EndedAt, t.EndUntested = 0, "others are in the room"
			},
			LevelOK, "END_RECORDING was not tested: others are in the room", "",
		},
		"end without a reason": {marker(recorder.MarkerEnd, 21*time.Second, ""), LevelOK, "END_RECORDING 1.0 s after the room was deleted", ""},
		"end with a strange reason": {
			marker(recorder.MarkerEnd, 21*time.Second, "tired"), LevelWarning, `the reason "tired", which means nothing`, "room_closed, room_empty",
		},
		"closed instead of an end": {
			func(t *Trial) {
				t.without(recorder.ObservedMarker, "END_RECORDING")
				t.add(recorder.Observation{Kind: recorder.ObservedClosed, After: 21 * time.Second})
			},
			LevelOK, "the page closed its tab after the room was deleted", "",
		},
		"closed too early": {
			func(t *Trial) {
				t.without(recorder.ObservedMarker, "END_RECORDING")
				t.EndedAt = 0
				t.add(recorder.Observation{Kind: recorder.ObservedClosed, After: 11 * time.Second})
			},
			LevelFault, "closed its tab while the room went on", "when the room is over",
		},
		"closed by who looked at it": {
			func(t *Trial) {
				t.without(recorder.ObservedMarker, "END_RECORDING")
				t.EndedAt, t.Watched = 0, true
				t.add(recorder.Observation{Kind: recorder.ObservedClosed, After: 11 * time.Second})
			},
			LevelOK, "", "",
		},
		"crash": {
			seen(recorder.Observation{Kind: recorder.ObservedCrash, After: 7 * time.Second}), LevelFault, "the tab crashed after 7.0 s", "memory",
		},
		"exception": {
			seen(recorder.Observation{Kind: recorder.ObservedException, After: time.Second, Text: "Uncaught Error: boom", Source: "http://t/a.js:3"}),
			LevelWarning, "uncaught exception after 1.0 s: Uncaught Error: boom (http://t/a.js:3)", "catch it",
		},
		"exception after the end": {
			seen(recorder.Observation{Kind: recorder.ObservedException, After: 21 * time.Second, Text: "Uncaught Error: boom"}), LevelOK, "", "",
		},
		"missing resource": {
			seen(recorder.Observation{Kind: recorder.ObservedResource, After: time.Second, Text: "404", Source: "http://t/a.css"}),
			LevelWarning, "did not load after 1.0 s: 404 (http://t/a.css)", "mend the address",
		},
		"missing icon": {
			seen(recorder.Observation{Kind: recorder.ObservedResource, After: time.Second, Text: "404", Source: "http://t/favicon.ico"}), LevelOK, "", "",
		},
		"a parameter the built-in page knows": {
			func(t *Trial) {
				t.BuiltIn = true
				t.add(recorder.Observation{Kind: recorder.ObservedParameter, Text: "identity"})
			},
			LevelOK, "", "",
		},
		"console error": {
			seen(recorder.Observation{Kind: recorder.ObservedConsole, Level: "error", After: time.Second, Text: "bad"}),
			LevelWarning, "console error after 1.0 s: bad", "",
		},
		"console log": {seen(recorder.Observation{Kind: recorder.ObservedConsole, Level: "log", Text: "fine"}), LevelOK, "", ""},
		"token on the console": {
			seen(recorder.Observation{Kind: recorder.ObservedConsole, Level: "log", After: time.Second, Leaks: []string{"token", "url"}}),
			LevelFault, "logged the token (secret) to the console after 1.0 s", "do not log",
		},
		"own parameter on the console": {
			func(t *Trial) {
				t.Own = []string{"authkey"}
				t.add(recorder.Observation{Kind: recorder.ObservedConsole, Level: "log", After: time.Second, Leaks: []string{"authkey"}})
			},
			LevelWarning, "logged the value of `authkey`", "if that is a secret",
		},
		"layout that shows": {
			func(t *Trial) {
				t.Layouts = []LayoutChange{{Layout: "speaker", At: 9 * time.Second, Change: 0.2}}
			}, LevelOK, "layout speaker at 9.0 s: the picture changed by 20 %", "",
		},
		"layout that does not show": {
			func(t *Trial) {
				t.Layouts = []LayoutChange{{Layout: "speaker", At: 9 * time.Second, Change: 0.01}}
			},
			LevelWarning, "layout speaker at 9.0 s: the picture hardly changed", `{"layout":"speaker"}`,
		},
		"layout nobody looked at": {
			func(t *Trial) {
				t.Layouts = []LayoutChange{{Layout: "speaker", At: 9 * time.Second, Change: -1}}
			}, LevelOK, "layout speaker at 9.0 s", "",
		},
		"layout that could not be told": {
			func(t *Trial) {
				t.Layouts = []LayoutChange{{Layout: "speaker", At: 9 * time.Second, Err: "not in the room"}}
			},
			LevelWarning, "layout speaker could not be told to the page: not in the room", "",
		},
		"no file": {func(t *Trial) { t.Failure = "disk full" }, LevelFault, "the recording failed: disk full", ""},
	} {
		t.Run(name, func(t *testing.T) {
			trial := good()
			c.change(&trial)
			findings := Judge(trial)
			assert.Equal(t, c.level, Worst(findings), "%+v", findings)
			var bad, said []Finding
			for _, f := range findings {
				if f.Level != LevelOK {
					bad = append(bad, f)
				}
				if c.text != "" && f.Level == c.level && strings.Contains(f.Text, c.text) {
					said = append(said, f)
				}
			}
			if c.level == LevelOK {
				assert.Empty(t, bad)
			} else {
				assert.Len(t, bad, 1, "one thing was changed")
			}
			if c.text != "" && assert.Len(t, said, 1, "%q in %+v", c.text, findings) {
				assert.Contains(t, said[0].Remedy, c.remedy)
			}
		})
	}
}

func TestVerdictOnAPageThatIgnoresEverything(t *testing.T) {
	findings := Judge(Trial{
		Identity: "EG_1", Given: []string{"layout", "template", "token", "url"}, GaveUpAt: 30 * time.Second,
		Observations: []recorder.Observation{
			{Kind: recorder.ObservedDocument, Status: 200}, {Kind: recorder.ObservedMarker, Text: "LOADED", After: time.Second},
		},
	})
	var bad []string
	for _, f := range findings {
		if f.Level != LevelOK {
			bad = append(bad, f.Text)
			assert.NotEmpty(t, f.Remedy, f.Text)
		}
	}
	assert.Equal(t, []string{
		"no script of the page asked for `url`",
		"no script of the page asked for `token`",
		"no script of the page asked for `layout`: the layout that a job names is ignored",
		"never joined the room as EG_1",
		"START_RECORDING never came (waited 30.0 s)",
	}, bad)
}

func TestVerdictQuotesAFewLinesOfMany(t *testing.T) {
	trial := good()
	for range 12 {
		trial.add(recorder.Observation{Kind: recorder.ObservedConsole, Level: "error", Text: "again"})
	}
	findings := Judge(trial)
	assert.Len(t, findings, 5+mostLines+1)
	assert.Equal(t, "console error: 7 more", findings[len(findings)-1].Text)
}
