package recorder_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder"
)

// A storage that is away when the last part is delivered, too, is waited for and asked again. On one
// processor, what waits twice for the same is most likely to be found out.
func TestRescueOutlastsTheLastDelivery(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range 5 {
		inYard(t, func(y *yard) {
			var asked atomic.Int32
			y.spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
				if asked.Add(1) == 1 {
					time.Sleep(2 * time.Minute)
					return rec, nil
				}
				rec.Files[0].State = recorder.FileDelivered
				return rec, nil
			}
			y.start()
			l := y.putAs(lostJob())
			time.Sleep(time.Minute)
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, recorder.StatusComplete, got.Status)
			assert.EqualValues(t, 2, asked.Load())
			assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
			synctest.Wait()
			y.allFreed()
		})
	}
}
