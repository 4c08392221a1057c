package pipeline

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

const (
	// maxStreamBacklog is how much may wait for a server before packets are
	// dropped, up to the next key frame.
	maxStreamBacklog = 5 * time.Second
	watchEvery       = 100 * time.Millisecond
	// A connection is up when the sink got so many buffers of media: with the first
	// one it waits until the server lets it publish.
	buffersWhenUp = 2
	// rtmp2sink says it is done when its last messages (FCUnpublish,
	// deleteStream) are queued, not when they are sent.
	goodbye = 250 * time.Millisecond
)

// connection is one attempt at an ingest server and what comes of it.
type connection struct {
	unit   *unit
	srcs   map[codec]*app.Source
	lead   codec // the picture's, or the sound's where there is none
	timing StreamTiming
	log    *zap.Logger
	played chan error   // what starting it came to, once
	passed atomic.Int64 // buffers of media that reached the sink

	mu      sync.Mutex
	fed     time.Time // when it got its first packet
	started bool
	capped  map[codec]bool
	base    time.Duration // media time of its first packet
	wantKey bool
	pushed  int64 // bytes
	dropped int64
	last    time.Duration
	step    time.Duration // of one leading packet
}

// newConnection starts to connect at once, in threads that nothing here waits for.
func newConnection(rawURL string, codecs []codec, timing StreamTiming, log *zap.Logger) (*connection, error) {
	in, err := parseIngest(rawURL)
	if err != nil {
		return nil, err
	}
	launch := in.launch(timing)
	for _, c := range codecs {
		launch += fmt.Sprintf(" appsrc name=%s format=time is-live=false block=false max-bytes=0 ! %s", c, in.pad(c))
	}
	u, err := newUnit("stream "+in.host, launch, log)
	if err != nil {
		return nil, err
	}
	for _, p := range in.address() {
		if err := u.set("sink", p[0], p[1]); err != nil {
			return nil, err
		}
	}
	c := &connection{
		unit: u, srcs: map[codec]*app.Source{}, capped: map[codec]bool{}, lead: codecs[0], timing: timing, log: log,
		played: make(chan error, 1),
	}
	for _, k := range codecs {
		c.srcs[k] = u.source(string(k))
	}
	// mpegtsmux gives lists of buffers, flvmux buffers, of which the first are headers.
	sink := u.element("sink").GetStaticPad("sink")
	sink.AddProbe(gst.PadProbeTypeBuffer, func(_ *gst.Pad, info *gst.PadProbeInfo) gst.PadProbeReturn {
		if !info.GetBuffer().HasFlags(gst.BufferFlagHeader) { // borrowed: nothing to free
			c.passed.Add(1)
		}
		return gst.PadProbeOK
	})
	sink.AddProbe(gst.PadProbeTypeBufferList, func(*gst.Pad, *gst.PadProbeInfo) gst.PadProbeReturn {
		c.passed.Add(1)
		return gst.PadProbeOK
	})
	go func() { c.played <- u.play() }() // srtsink looks its host up first
	return c, nil
}

// ingest is an ingest URL in its sink's terms: rtmpIngest or srtIngest.
type ingest struct {
	host string
	rtmp *rtmpIngest
	srt  *srtIngest
}

// parseIngest takes a URL apart. The error, of CodeInvalid, does not show its secrets.
func parseIngest(rawURL string) (ingest, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil || u.Host == "":
	case u.Scheme == "rtmp" || u.Scheme == "rtmps":
		in, err := parseRTMP(u)
		return ingest{host: u.Host, rtmp: &in}, err
	case u.Scheme == "srt":
		in, err := parseSRT(u)
		return ingest{host: u.Host, srt: &in}, err
	}
	return ingest{}, recorder.Errorf(recorder.CodeInvalid, "%s is no rtmp://, rtmps:// or srt:// URL", recorder.RedactStreamURL(rawURL))
}

// launch describes what is between the packets and the server: elements "mux" to "sink".
func (in ingest) launch(timing StreamTiming) string {
	if in.srt != nil {
		return srtLaunch
	}
	return fmt.Sprintf("flvmux name=mux streamable=true metadatacreator=tapedeck encoder=tapedeck"+
		" ! rtmp2sink name=sink sync=false async=false async-connect=true timeout=%d", max(1, int(timing.Connect.Seconds())))
}

// pad describes a codec's way into the muxer.
func (in ingest) pad(c codec) string {
	switch {
	case in.srt != nil:
		return srtPad(c)
	case c.video():
		return "mux.video"
	default:
		return "mux.audio"
	}
}

// address gives the sink's properties, in the order they are to be set in.
func (in ingest) address() [][2]string {
	if in.srt != nil {
		return in.srt.address()
	}
	return in.rtmp.address()
}

// rtmpIngest is an RTMP server and its stream in rtmp2sink's terms.
type rtmpIngest struct {
	base                string // scheme, host and port, with a path that says nothing
	application, stream string
	username, password  string
}

// parseRTMP splits a URL: the stream is the last part of its path with the
// query, the application all before. rtmp2sink's own parser takes a slash in the
// query for one of the path. Escapes stay as they are: servers expect the key as written.
func parseRTMP(u *url.URL) (rtmpIngest, error) {
	in := rtmpIngest{base: u.Scheme + "://" + u.Host + "/app/stream"}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	i := strings.LastIndex(path, "/")
	if i <= 0 || i == len(path)-1 {
		return in, recorder.Errorf(recorder.CodeInvalid, "%s has no stream key: write it as rtmp://host/app/key", recorder.RedactStreamURL(u.String()))
	}
	in.application, in.stream = path[:i], path[i+1:]
	if u.RawQuery != "" {
		in.stream += "?" + u.RawQuery
	}
	if u.User != nil {
		in.username = u.User.Username()
		in.password, _ = u.User.Password()
	}
	return in, nil
}

// address points the sink at the server. location comes first, for it resets the rest.
func (in rtmpIngest) address() [][2]string {
	return given([][2]string{
		{"location", in.base},
		{"application", in.application},
		{"stream", in.stream},
		{"username", in.username},
		{"password", in.password},
	})
}

// given leaves out the properties that are to keep their defaults.
func given(properties [][2]string) [][2]string {
	return slices.DeleteFunc(properties, func(p [2]string) bool { return p[1] == "" })
}

// accept queues a packet: from the first key frame on, dropping up to the next
// one when the server does not keep up.
func (c *connection) accept(p packet) {
	src := c.srcs[p.codec]
	if src == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	leads := p.codec == c.lead
	if !c.started {
		if !leads || !p.key {
			return
		}
		c.started, c.base, c.fed = true, p.pts, time.Now()
	}
	if p.pts < c.base {
		return
	}
	if c.full(leads, p.key) {
		if p.codec.video() {
			c.dropped++
		}
		return
	}
	if !c.capped[p.codec] {
		c.capped[p.codec] = true
		src.SetCaps(p.caps)
	}
	b := stamped(p.buf, p.pts-c.base, p.duration)
	c.pushed += b.GetSize()
	src.PushBuffer(b)
	freeBuffer(b)
	if leads {
		c.step = p.duration
		c.last = p.pts + p.duration - c.base
	}
}

// full decides whether a packet must be dropped. Sound goes with the picture, or the
// muxer would wait for the one that is missing.
func (c *connection) full(leads, key bool) bool {
	if !leads {
		return c.wantKey
	}
	over := c.backlog() > maxStreamBacklog
	switch {
	case over:
		c.wantKey = true
	case key:
		c.wantKey = false
	}
	return c.wantKey
}

// backlog is the media time that waits, from the number of leading packets: what appsrc
// itself says of time is zero until its thread runs. c.mu is held.
func (c *connection) backlog() time.Duration {
	v, err := c.srcs[c.lead].GetProperty("current-level-buffers")
	n, ok := v.(uint64)
	if err != nil || !ok {
		return 0
	}
	return time.Duration(n) * c.step //nolint:gosec // bounded by maxStreamBacklog
}

func (c *connection) waiting() int64 {
	var n uint64
	for _, src := range c.srcs {
		n += src.GetCurrentLevelBytes()
	}
	return int64(n)
}

func (c *connection) up() bool { return c.passed.Load() >= buffersWhenUp }

// watch waits for the end: nil when quit is closed, otherwise why the connection is no
// good. It calls active when the server takes media.
func (c *connection) watch(quit <-chan struct{}, active func()) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	began := time.Now()
	progress, passed, announced := began, int64(0), false
	for {
		select {
		case <-quit:
			return nil
		case err := <-c.played:
			if err != nil {
				return err
			}
			continue
		case <-c.unit.failed:
			return c.unit.err()
		case <-c.unit.ended:
			return recorder.Errorf(recorder.CodeStream, "the server closed the connection")
		case <-tick.C:
		}
		now := time.Now()
		if n := c.passed.Load(); n != passed {
			passed, progress = n, now
		}
		if c.up() && !announced {
			announced = true
			active()
		}
		switch fed := c.fedAt(); {
		case !announced && !fed.IsZero() && now.Sub(fed) > c.timing.Connect && now.Sub(began) > c.timing.Connect:
			return recorder.Errorf(recorder.CodeStream, "the server took no media within %v", c.timing.Connect)
		case announced && c.waiting() == 0:
			progress = now
		case announced && now.Sub(progress) > c.timing.Stall:
			return recorder.Errorf(recorder.CodeStream, "the server has stalled for %v", c.timing.Stall)
		}
	}
}

func (c *connection) fedAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fed
}

// flush sends what waits and says goodbye (FCUnpublish, deleteStream), for as
// long as patience and cut allow.
func (c *connection) flush(patience time.Duration, cut <-chan struct{}) {
	if !c.up() {
		return
	}
	for _, src := range c.srcs {
		src.EndStream()
	}
	select {
	case <-c.unit.ended:
		select {
		case <-time.After(goodbye):
		case <-cut:
		}
	case <-c.unit.failed:
	case <-time.After(patience):
		c.log.Warn("stream was not flushed in time", zap.Int64("bytes_lost", c.waiting()))
	case <-cut:
	}
}

// close brings the connection down. One that hangs is left to a goroutine that
// ends when its socket does.
func (c *connection) close() { c.unit.stop() }

func (c *connection) account() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up() {
		return tally{dropped: c.dropped}
	}
	return tally{bytes: max(0, c.pushed-c.waiting()), dropped: c.dropped, sent: max(0, c.last-c.backlog())}
}
