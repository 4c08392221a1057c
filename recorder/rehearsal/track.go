package rehearsal

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"tapedeck/recorder"
)

const (
	// A packet with its headers and extensions fits into what every network passes.
	longestPayload = 1140
	// A player that is so late, because the machine slept, leaves out what it missed.
	tooLate = time.Second
)

// Track is one published track. It plays its clips until Unpublish or Leave.
type Track struct {
	publisher *Publisher
	layers    []*layer
	times     timetable
	muted     atomic.Bool

	mu          sync.Mutex
	publication *lksdk.LocalTrackPublication // another one after a reconnection

	cancel context.CancelFunc
	done   chan struct{} // closed when play returned
}

// layer is one encoding of a track: its only one, or one of simulcast.
type layer struct {
	clip      *Clip
	local     *lksdk.LocalTrack
	payloader rtp.Payloader
	clock     int64
	base      uint32 // timestamp of sample 0
	sequence  uint16
	running   bool // the receiver has what the next delta frame refers to
}

func newLayer(c *Clip, local *lksdk.LocalTrack) *layer {
	l := &layer{clip: c, local: local, clock: videoClock, base: rand.Uint32(), sequence: uint16(rand.Uint32())}
	switch c.codec {
	case recorder.ClipVP8:
		l.payloader = &codecs.VP8Payloader{EnablePictureID: true}
	case recorder.ClipH264:
		l.payloader = &codecs.H264Payloader{}
	default:
		l.payloader, l.clock = &codecs.OpusPayloader{}, soundClock
	}
	return l
}

// ID is LiveKit's id of the track (TR_…).
func (t *Track) ID() string { return t.current().SID() }

func (t *Track) current() *lksdk.LocalTrackPublication {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.publication
}

// Mute stops sending and tells the room.
func (t *Track) Mute() { t.setMuted(true) }

// Unmute goes on where the clock is now. Pictures begin with the next key frame.
func (t *Track) Unmute() { t.setMuted(false) }

func (t *Track) setMuted(muted bool) {
	t.muted.Store(muted)
	t.current().SetMuted(muted)
}

// republished takes the publication that a reconnection made of the same track.
func (t *Track) republished(p *lksdk.LocalTrackPublication) {
	t.mu.Lock()
	t.publication = p
	t.mu.Unlock()
	if t.muted.Load() {
		p.SetMuted(true)
	}
}

// is reports whether a publication is of this track.
func (t *Track) is(p *lksdk.LocalTrackPublication) bool {
	for _, l := range t.layers {
		if p.TrackLocal() == l.local {
			return true
		}
		for _, s := range p.TrackLocalForSimulcast() {
			if s == l.local {
				return true
			}
		}
	}
	return false
}

// Unpublish takes the track out of the room.
func (t *Track) Unpublish() error {
	t.stop()
	t.publisher.forget(t)
	if err := t.publisher.room.LocalParticipant.UnpublishTrack(t.ID()); err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "unpublishing track %s: %w", t.ID(), err)
	}
	return nil
}

// stop returns when nothing is sent any more.
func (t *Track) stop() {
	t.cancel()
	<-t.done
}

// play sends each sample when it is due.
func (t *Track) play(ctx context.Context) {
	defer close(t.done)
	perSecond := t.layers[0].clip.perSecond
	n := t.times.next(time.Now(), perSecond)
	timer := time.NewTimer(time.Until(t.times.due(n, perSecond)))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		muted := t.muted.Load()
		for _, l := range t.layers {
			l.play(n, muted)
		}
		n++
		wait := time.Until(t.times.due(n, perSecond))
		if wait < -tooLate {
			n = t.times.next(time.Now(), perSecond)
			wait = time.Until(t.times.due(n, perSecond))
		}
		timer.Reset(wait)
	}
}

// play sends sample n, unless it cannot be decoded by who gets it.
func (l *layer) play(n int64, muted bool) {
	sample := l.clip.sample(n)
	if muted || !l.local.IsBound() {
		l.running = false
		return
	}
	if !l.running && !sample.Key {
		return
	}
	// An error is that of a connection that is being closed or made anew.
	l.running = l.send(n, sample) == nil
}

func (l *layer) send(n int64, sample recorder.ClipSample) error {
	var options *lksdk.SampleWriteOptions
	if !l.clip.video() {
		level := l.clip.level(n)
		options = &lksdk.SampleWriteOptions{AudioLevel: &level}
	}
	payloads := l.payloader.Payload(longestPayload, sample.Data)
	for i, payload := range payloads {
		packet := &rtp.Packet{Payload: payload, Header: rtp.Header{
			Version: 2, SequenceNumber: l.sequence, Timestamp: timestamp(l.base, n, l.clip.perSecond, l.clock),
			// The end of a picture; in sound it would be the beginning of a talk spurt.
			Marker: l.clip.video() && i == len(payloads)-1,
		}}
		l.sequence++
		if err := l.local.WriteRTP(packet, options); err != nil {
			return err
		}
	}
	return nil
}
