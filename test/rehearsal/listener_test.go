package rehearsal

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/rehearsal"
)

// listener is a participant who subscribes to everything and keeps what arrives.
type listener struct {
	t    *testing.T
	room *lksdk.Room
	news chan struct{} // gets something after every change

	mu       sync.Mutex
	tracks   map[string]*heard // by publisher and source, as in "ada camera"
	gone     map[string]bool   // publishers who left
	speaking map[string]int    // how often somebody was among the active speakers
}

// heard is one subscribed track.
type heard struct {
	publication *lksdk.RemoteTrackPublication
	codec       string
	packets     []rtp.Header
	arrived     []time.Time
	frames      []frame // whole pictures or packets of sound
	reports     []*rtcp.SenderReport
	ended       bool
}

type frame struct {
	timestamp uint32
	data      []byte
}

func listen(t *testing.T, s *rehearsal.Server, room string) *listener {
	t.Helper()
	l := &listener{t: t, news: make(chan struct{}, 1), tracks: map[string]*heard{}, gone: map[string]bool{}, speaking: map[string]int{}}
	l.room = lksdk.NewRoom(&lksdk.RoomCallback{
		OnParticipantDisconnected: func(p *lksdk.RemoteParticipant) {
			l.change(func() { l.gone[p.Identity()] = true })
		},
		OnActiveSpeakersChanged: func(speakers []lksdk.Participant) {
			l.change(func() {
				for _, p := range speakers {
					l.speaking[p.Identity()]++
				}
			})
		},
		ParticipantCallback: lksdk.ParticipantCallback{OnTrackSubscribed: l.subscribed},
	})
	require.NoError(t, l.room.Join(s.URL(), lksdk.ConnectInfo{
		APIKey: s.APIKey, APISecret: s.APISecret, RoomName: room, ParticipantIdentity: "listener",
	}))
	t.Cleanup(l.close)
	return l
}

// close leaves and waits until the connections are gone.
func (l *listener) close() {
	p, s := l.room.LocalParticipant.GetPublisherPeerConnection(), l.room.LocalParticipant.GetSubscriberPeerConnection()
	l.room.Disconnect()
	for _, c := range []*webrtc.PeerConnection{p, s} {
		if c != nil {
			_ = c.GracefulClose()
		}
	}
}

func (l *listener) change(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *listener) subscribed(track *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
	h := &heard{publication: pub, codec: track.Codec().MimeType}
	l.change(func() { l.tracks[p.Identity()+" "+pub.Name()] = h })
	pub.OnRTCP(func(packet rtcp.Packet) {
		if r, ok := packet.(*rtcp.SenderReport); ok && r.SSRC == uint32(track.SSRC()) {
			l.change(func() { h.reports = append(h.reports, r) })
		}
	})
	go l.read(track, h)
}

// read takes packets apart until the track ends.
func (l *listener) read(track *webrtc.TrackRemote, h *heard) {
	depacketizer := depacketizerOf(h.codec)
	var whole []byte
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			l.change(func() { h.ended = true })
			return
		}
		if len(packet.Payload) <= int(packet.PaddingSize) {
			continue // with which the server probes
		}
		part, err := depacketizer.Unmarshal(packet.Payload)
		if err != nil {
			l.t.Errorf("%s: %v", h.codec, err)
		}
		whole = append(whole, part...)
		l.change(func() {
			h.packets = append(h.packets, packet.Header)
			h.arrived = append(h.arrived, time.Now())
			if packet.Marker || h.codec == webrtc.MimeTypeOpus {
				h.frames = append(h.frames, frame{packet.Timestamp, whole})
				whole = nil
			}
		})
	}
}

func depacketizerOf(codec string) rtp.Depacketizer {
	switch codec {
	case webrtc.MimeTypeVP8:
		return &codecs.VP8Packet{}
	case webrtc.MimeTypeH264:
		return &codecs.H264Packet{}
	default:
		return &codecs.OpusPacket{}
	}
}

// await returns when the condition holds; it is asked under the lock.
func (l *listener) await(limit time.Duration, what string, condition func() bool) {
	l.t.Helper()
	deadline := time.After(limit)
	ticker := time.NewTicker(50 * time.Millisecond) // for what is not kept here
	defer ticker.Stop()
	for {
		l.mu.Lock()
		holds := condition()
		l.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-l.news:
		case <-ticker.C:
		case <-deadline:
			require.FailNow(l.t, "still not after "+limit.String()+": "+what)
		}
	}
}

// track waits until the track is there and something of it arrived.
func (l *listener) track(name string) *heard {
	l.t.Helper()
	l.await(10*time.Second, name+" arrives", func() bool { h := l.tracks[name]; return h != nil && len(h.frames) > 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tracks[name]
}

// count gives how many frames of a track arrived so far.
func (l *listener) count(h *heard) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(h.frames)
}

// save writes pictures from frame on as a file that ffmpeg reads.
func (l *listener) save(h *heard, from int) string {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var file bytes.Buffer
	name := filepath.Join(l.t.TempDir(), "received.h264")
	if h.codec == webrtc.MimeTypeVP8 {
		name = filepath.Join(l.t.TempDir(), "received.ivf")
		file.WriteString("DKIF")
		for _, v := range []any{uint16(0), uint16(32), []byte("VP80"), uint16(0), uint16(0), uint32(30), uint32(1), uint32(0), uint32(0)} {
			_ = binary.Write(&file, binary.LittleEndian, v)
		}
	}
	for n, f := range h.frames[from:] {
		if h.codec == webrtc.MimeTypeVP8 {
			_ = binary.Write(&file, binary.LittleEndian, uint32(len(f.data)))
			_ = binary.Write(&file, binary.LittleEndian, uint64(n))
		}
		file.Write(f.data)
	}
	require.NoError(l.t, os.WriteFile(name, file.Bytes(), 0o600))
	return name
}

// vp8Size gives the width and height that a key frame of VP8 names (RFC 6386,
// section 9.1); zeros for other frames.
func vp8Size(data []byte) (width, height int) {
	if len(data) < 10 || data[0]&1 != 0 {
		return 0, 0
	}
	return int(binary.LittleEndian.Uint16(data[6:])) & 0x3fff, int(binary.LittleEndian.Uint16(data[8:])) & 0x3fff
}
