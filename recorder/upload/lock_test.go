package upload_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// abandoned makes an entry that nobody works on.
func (d *deck) abandoned() (dir string) {
	d.t.Helper()
	e := d.entry(one("job", recorder.FileOutput{}), []byte("a"))
	require.NoError(d.t, e.Close())
	return e.Task().Dir
}

// An entry that a worker passes over because somebody looks at it would wait for the
// worker's next look, and a recording that can be gone on with has no time to wait.
func TestWhoAsksKeepsNobodyFromWork(t *testing.T) {
	d := newDeck(t, upload.Options{})
	dir := d.abandoned()
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				d.Busy(dir)
			}
		}
	})
	for range 300 {
		left, err := d.Left()
		require.NoError(t, err)
		require.Len(t, left, 1)
		require.NoError(t, left[0].Close())
	}
	close(done)
	asking.Wait()
}

// A worker has every entry locked for a moment, now and then, to see whether there is
// work for it.
func TestWhoLooksForWorkIsNotAtWork(t *testing.T) {
	d := newDeck(t, upload.Options{})
	dir := d.abandoned()
	looks := func() {
		left, err := d.Left()
		require.NoError(t, err)
		require.Len(t, left, 1)
		time.AfterFunc(askedLater, func() { _ = left[0].Close() })
	}
	looks()
	require.False(t, d.Busy(dir))
	looks()
	e, err := d.Take(dir)
	require.NoError(t, err)
	require.NotNil(t, e)

	require.True(t, d.Busy(dir), "this one works on it")
	other, err := d.Take(dir)
	require.NoError(t, err)
	require.Nil(t, other)
	require.NoError(t, e.Close())
}

// askedLater is long enough for the question to be asked meanwhile.
const askedLater = 5 * time.Millisecond
