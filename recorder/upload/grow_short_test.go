package upload_test

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// hasty is a deck whose media do not wait for their part to fill.
func hasty(t *testing.T) *deck { return newDeck(t, upload.Options{SendWithin: time.Millisecond}) }

// sendsAll waits until all whole fragments that were rolled are with the storage.
func (k *take) sendsAll(fragments int) {
	k.t.Helper()
	end := k.camera.film.ends[fragments-1]
	note := `"s":` + strconv.Itoa(end-end/takePart*takePart) + ","
	eventually(k.t, func() bool {
		return strings.Contains(k.notes()["1/file-0."+strconv.Itoa(end/takePart+1)], note)
	})
}

// Parts that fill slowly are sent as they are, again and again; the object is the finalised
// file all the same.
func TestGrowthSendsShortParts(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	f := shot(t)
	k := hasty(t).roll(toS3(through(s, p)), f)
	for n := 1; n <= 14; n++ {
		k.camera.roll(n)
		k.sendsAll(n)
	}
	require.Equal(t, 14+f.ends[13]/takePart, p.Count(isPart), "one for what was added each time, and the full ones")
	rec := k.end()
	requireDelivered(t, rec)
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")), "not byte-identical")
	require.Zero(t, s.Uploads())
}

// A storage that refuses parts that are not full gets full ones; one that takes for ever
// for one holds nobody up at the end.
func TestGrowthGoesOnWithoutShortParts(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	short := func(r *http.Request) bool {
		return r.Method == http.MethodPut && r.URL.Query().Has("partNumber") && r.ContentLength < takePart
	}
	for name, c := range map[string]struct {
		fault recordertest.S3Fault
		until int
	}{
		"refused": {recordertest.S3Fault{Status: http.StatusBadRequest, Code: "EntityTooSmall"}, 14},
		"stalled": {recordertest.S3Fault{Stall: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			met := make(chan struct{}, 64)
			p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
				if !short(r) {
					return recordertest.S3Fault{}
				}
				met <- struct{}{}
				return c.fault
			})
			job := toS3(through(s, p))
			job.Files[0].Filepath = name + ".mp4"
			k := hasty(t).roll(job, f)
			k.camera.roll(2)
			<-met
			k.camera.roll(c.until)
			full := f.ends[c.until-1] / takePart
			eventually(t, func() bool { return len(k.notes()) > full })
			require.Empty(t, k.error())
			p.Fault(nil)
			began := time.Now()
			requireDelivered(t, k.end())
			require.Less(t, time.Since(began), 20*time.Second, "the stall of a connection is 60 s")
			require.True(t, bytes.Equal(f.final, s.Get(name+".mp4")))
			require.Zero(t, s.Uploads())
		})
	}
}

// A worker vanishes before its part is full: what was sent of it is not lost.
func TestRescueOfAShortPart(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	for name, c := range map[string]struct {
		fragments int
		blind     bool // with keys that may not list parts
		unnoted   bool // the last one's note did not get through
		least     float64
	}{
		"the first":                  {fragments: 3, least: 2.5},
		"the first, blind":           {fragments: 3, least: 2.5, blind: true},
		"a later one":                {fragments: 14, least: 13.5},
		"a later one, blind":         {fragments: 14, least: 13.5, blind: true},
		"unnoted":                    {fragments: 14, least: 13.5, unnoted: true},
		"unnoted and blind, a later": {fragments: 14, least: 11.5, unnoted: true, blind: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			job := toS3(through(s, p))
			job.Files[0].Filepath = strings.ReplaceAll(name, " ", "-") + ".mp4"
			k := hasty(t).roll(job, f)
			k.camera.roll(c.fragments - 1)
			k.sendsAll(c.fragments - 1)
			notes := k.notes()
			k.camera.roll(c.fragments)
			k.sendsAll(c.fragments)
			if !c.unnoted {
				notes = k.notes()
			}
			k.stop()
			require.NoError(t, k.entry.Close())
			if c.blind {
				p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
					if r.Method == http.MethodGet && r.URL.Query().Has("uploadId") {
						return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
					}
					return recordertest.S3Fault{}
				})
			}
			file := rescue(t, k, job, notes)
			require.Equal(t, recorder.FileDelivered, file.State, file.Error)
			require.True(t, file.Partial, "it was not finalised")
			again := rescue(t, k, job, notes)
			require.Equal(t, recorder.FileDelivered, again.State, again.Error)
			require.True(t, again.Partial, "nor by whoever rescued it before")
			require.Equal(t, file.Size, again.Size)
			data := s.Get(job.Files[0].Filepath)
			require.EqualValues(t, len(data), file.Size)
			plays := seconds(t, data)
			require.GreaterOrEqual(t, plays, c.least)
			require.InDelta(t, plays, time.Duration(file.Duration).Seconds(), 2.5)
			require.Zero(t, s.Uploads())
		})
	}
}

// The worker comes back to its spool: what was sent short is sent whole.
func TestShortPartOfAnEarlierLife(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	f := shot(t)
	d := hasty(t)
	k := d.roll(toS3(through(s, p)), f)
	k.camera.roll(14)
	k.sendsAll(14)
	k.stop()
	k.camera.cut()
	require.NoError(t, k.entry.Close())
	d.reopen()
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	requireDelivered(t, deliver(t, left[0]))
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")))
	require.Zero(t, s.Uploads())
}

// A short part that was given up arrives after the full one, as late as it can: the storage has
// the full one in the end.
func TestShortPartArrivesLate(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	f := shot(t)
	k := hasty(t).roll(toS3(through(s, p)), f)
	k.camera.roll(14)
	k.sendsAll(14)
	var late sync.Once
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if isCompletion(r) {
			late.Do(func() {
				s.PutPart("talks/talk.mp4", r.URL.Query().Get("uploadId"), 3, f.final[2*takePart:2*takePart+99])
			})
		}
		return recordertest.S3Fault{}
	})
	requireDelivered(t, k.end())
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")))
	require.Zero(t, s.Uploads())
	require.LessOrEqual(t, p.Sent(isPart), int64(2*len(f.final)), "the file is not sent anew")
}

// What happens to one part once is no reason to send no more short ones.
func TestShortPartThatArrivesChanged(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	var once sync.Once
	p.Fault(func(_ int, r *http.Request) (fault recordertest.S3Fault) {
		if r.URL.Query().Has("partNumber") {
			once.Do(func() { fault = recordertest.S3Fault{FlipAt: 1} })
		}
		return fault
	})
	k := hasty(t).roll(toS3(through(s, p)), shot(t))
	k.camera.roll(2)
	k.sendsAll(2)
}
