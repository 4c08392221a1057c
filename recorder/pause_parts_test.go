package recorder_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// obeys is a part that obeys so many pauses and resumes, and then dies.
func obeys(commands int) act {
	return func(ctx context.Context, task recorder.Task, from <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		for range commands {
			time.Sleep(time.Second)
			if now := time.Now().UnixNano(); *(<-from).Update.Pause {
				task.Recording.Pauses = append(task.Recording.Pauses, recorder.Span{Start: now})
			} else {
				task.Recording.Pauses[len(task.Recording.Pauses)-1].End = now
			}
		}
		return dies(time.Minute, recorder.EndDisplayDied)(ctx, task, from, report)
	}
}

// A further part begins as the one before it was at last: what clients had asked for until then, and
// took back, is over.
func TestPausesOfEarlierPartsAreNotRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		asked  []bool
		paused bool
		spans  int
	}{
		"resumed": {[]bool{true, false}, false, 1},
		"paused":  {[]bool{true, false, true}, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				var second recorder.Task
				y.acts(obeys(len(c.asked)), func(ctx context.Context, task recorder.Task, from <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
					second = task
					return y.runner.Record(ctx, task, from, report)
				})
				y.start()
				a := y.put("a")
				for _, on := range c.asked {
					a.Sent <- pauseCommand(on)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Equal(t, c.paused, second.Recording.Paused())
				require.Len(t, second.Recording.Pauses, c.spans)
				first := y.spool.Entries()[0].Task().Recording.Pauses
				assert.Equal(t, first, second.Recording.Pauses)
				a.Sent <- stopCommand()
				y.finished(a)
			})
		})
	}
}
