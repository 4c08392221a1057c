package pipeline_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func streamTo(url string) recorder.Output {
	return recorder.Output{ID: recorder.StreamID(url), Kind: recorder.KindStream, URL: url}
}

func (k *take) stream(url string) recorder.StreamResult {
	id := recorder.StreamID(url)
	for _, s := range k.Snapshot().Streams {
		if s.ID == id {
			return s
		}
	}
	k.t.Fatalf("no stream %s", id)
	return recorder.StreamResult{}
}

func (k *take) untilStream(url string, what string, ok func(recorder.StreamResult) bool) {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return ok(k.stream(url)) }, 30*time.Second, 20*time.Millisecond, what)
}

func fast() pipeline.StreamTiming {
	return pipeline.StreamTiming{Connect: 3 * time.Second, Stall: 2 * time.Second, BackoffMin: 200 * time.Millisecond, BackoffMax: time.Second}
}

func TestStreams(t *testing.T) {
	r := newRig(t)
	server := recordertest.StartRTMP(t)
	hanging := recordertest.NewHangingListener(t)
	proxy := recordertest.NewStallingProxy(t, server.Addr)
	healthy, refused, stalling := server.URL("healthy"), "rtmp://127.0.0.1:1/live/denied", proxy.URL(server.URL("stalling"))
	_ = hanging
	k := record(t, r.spec(r.file("a.mp4"), streamTo(healthy), streamTo(refused), streamTo(stalling), streamTo(hanging.URL("hang"))), pipeline.Options{Stream: fast()})
	k.begin()
	k.untilStream(stalling, "active", func(s recorder.StreamResult) bool { return s.State == recorder.StreamActive })
	k.until(4 * time.Second)
	proxy.Stall()
	k.until(14 * time.Second)
	for _, s := range k.Snapshot().Streams {
		t.Logf("%+v", s)
	}
	require.NoError(t, k.end())
	t.Logf("%+v", k.Snapshot())
	t.Log(server.Recorded("healthy"), server.Recorded("stalling"))
}
