package upload_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// A playlist that was marked for a part which nobody began is ended by the worker that comes back to it, and
// left alone by one that has lost its job: somebody may begin that part now.
func TestMarkForAPartThatNobodyBegan(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*recorder.Recording)
		ended  bool
	}{
		"nobody began":   {func(rec *recorder.Recording) { rec.Unbegun = 2 }, true},
		"somebody may":   {func(*recorder.Recording) {}, false},
		"it is too late": {func(rec *recorder.Recording) { rec.Unbegun, rec.Orphan = 2, true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := recordertest.StartS3(t)
			first := newDeck(t, upload.Options{Default: upload.Storage{S3: s.Upload()}}).show(hlsJob("hls", recorder.Storage{}))
			stop := first.follow()
			for range 3 {
				first.studio.segment(1000)
			}
			eventually(t, first.located)
			first.onAir(s, mainList, 3)
			stop()
			first.studio.segment(1000)
			first.studio.end()
			d := newDeck(t, first.opts)
			d.RescueSeries(t.Context(), first.job, first.reported()) // marks it for part 2
			out := first.deliver(c.change)
			list := parse(t, s.Get(mainList))
			assert.Equal(t, c.ended, list.Ended)
			assert.Equal(t, c.ended, out.Error == "", out.Error)
			if c.ended {
				assert.Len(t, list.Segments, 4)
			}
		})
	}
}
