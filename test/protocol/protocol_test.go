package protocol

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// run is a search, within bounds of the faults.
type run struct {
	name   string
	bounds bounds
}

// runs have faults of all kinds, a few at a time.
func runs() []run {
	few := []run{
		{"a worker crashes, and answers are lost", bounds{workers: 2, claims: 2, crashes: 1, lapses: 1, lostAnswers: 1}},
		{"leases lapse under workers that live", bounds{workers: 2, claims: 3, lapses: 2, lostAnswers: 1}},
		{"redis falls back to what it was", bounds{workers: 2, claims: 2, lapses: 1, losses: 1, saves: 1}},
		{"redis forgets, and a worker crashes", bounds{workers: 2, claims: 2, crashes: 1, losses: 1}},
	}
	switch {
	case raced: // one goroutine: `make test` searches without the detector
		return []run{{"leases lapse", bounds{workers: 2, claims: 2, lapses: 1}}}
	case os.Getenv("TAPEDECK_LONG") == "":
		return few
	}
	return append(few,
		run{"redis forgets between crashes", bounds{workers: 2, claims: 2, crashes: 1, lapses: 1, losses: 1}},
		run{"both workers crash", bounds{workers: 2, claims: 2, crashes: 2, lapses: 2}},
		run{"three workers", bounds{workers: 3, claims: 3, crashes: 1, lapses: 1}},
	)
}

// No run breaks what is promised, and from wherever a run has come to, the job ends and
// media arrive once faults have ceased: whichever worker is left, or all, or none.
func TestProtocol(t *testing.T) {
	t.Parallel()
	states, steps := 0, 0
	for _, r := range runs() {
		x, at := newSearch(r.bounds, ""), time.Now()
		err := x.run(true)
		t.Logf("%s: %d states, %d steps; without faults %d states, %d ends; %s", r.name, x.States, x.Steps, len(x.calm), x.End, time.Since(at))
		require.NoError(t, err, r.name)
		states, steps = states+x.States, steps+x.Steps
	}
	t.Logf("in all %d states, %d steps", states, steps)
	if raced {
		return
	}
	require.Greater(t, steps, 1_000_000, "the search has become too small to show anything")
}

// A rule that is broken must be found out, and by what it breaks.
func TestBrokenRulesAreFound(t *testing.T) {
	t.Parallel()
	for rule, c := range map[string]struct {
		bounds bounds
		live   bool
		says   string
	}{
		"takeover without expiry":                  {says: takenFromLiving.String()},
		"heartbeat without fence":                  {says: oldObeyed.String()},
		"report without fence":                     {says: oldObeyed.String()},
		"note without fence":                       {says: oldObeyed.String()},
		"finish without fence":                     {says: oldObeyed.String()},
		"renewal without revision":                 {says: endedOnLiving.String()},
		"header before the tail":                   {says: halves.String()},
		"complete without all parts":               {says: inPart.String()},
		"rescue without ETags":                     {says: halves.String()},
		"complete twice":                           {says: twiceCompleted.String()},
		"rescue what is completed":                 {says: twiceCompleted.String()},
		"complete over an object":                  {says: overwritten.String()},
		"deliver over an object":                   {says: overwritten.String()},
		"nobody takes over":                        {live: true, says: "the job never ends"},
		"nobody watches":                           {live: true, says: "the job never ends"},
		"a spool is not taken up":                  {live: true, says: "still has role"},
		"who is fenced gives up":                   {live: true, says: "still has role"},
		"a rescuer waits for what is gone":         {live: true, says: "still has role"},
		"a rescuer leaves the upload":              {live: true, says: "uploaded is left"},
		"a spool stands for what another recorded": {live: true, says: "uploaded is left"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			b := bounds{workers: 2, claims: 2, crashes: 1, lapses: 1, lostAnswers: 1}
			err := newSearch(b, rule).run(c.live)
			require.Error(t, err, "a broken rule was not found out")
			assert.Contains(t, err.Error(), c.says)
		})
	}
}
