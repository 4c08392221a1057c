package upload_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// A process that must end at once waits for no long file to be read to its end; the next one
// finds the object.
func TestGrowthEndsInAHurry(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	d := growing(t)
	k := d.roll(toS3(s.Upload()), f)
	k.camera.cut()
	k.begun()
	k.stop()
	upload.HoldReading(k.entry, 0)
	ctx, hurry := context.WithCancel(t.Context())
	ended := make(chan recorder.Recording, 1)
	go func() { ended <- k.entry.Deliver(ctx, k.entry.Task().Recording, nil) }()
	eventually(t, func() bool { return s.Find("talks/talk.mp4") != nil })
	hurry()
	select {
	case rec := <-ended:
		require.Equal(t, recorder.FilePending, rec.Files[0].State)
	case <-time.After(10 * time.Second):
		t.Fatal("it still waits")
	}
	require.NoError(t, k.entry.Close())
	d.reopen()
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	rec := deliver(t, left[0])
	requireDelivered(t, rec)
	require.Equal(t, "talks/talk.mp4", rec.Files[0].Filename)
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")))
	require.Zero(t, s.Uploads())
}
