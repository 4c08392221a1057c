package recorder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Pass is what a recording enters its room with. Both tokens are secrets, signed
// with the API secret, which itself stays with the worker.
type Pass struct {
	// URL of the LiveKit server (ws, wss).
	URL string `json:"url"`
	// Token is the page's: a hidden recorder that sees and hears, and no more.
	Token string `json:"token"`
	// AdminToken lets the recording, never the page, look after the room: see Room.
	AdminToken string `json:"admin_token"`
}

// Room is the LiveKit server's side of the room that is recorded. Implemented by
// recorder/egress.
type Room interface {
	// State tells whether the room exists, and how many participants are in it, as the
	// server counts: without recorders and agents. CodeUnavailable when the server
	// does not answer.
	State(ctx context.Context) (RoomState, error)
	// SetLayout tells the page through the metadata of its participant.
	SetLayout(ctx context.Context, layout string) error
	// Layout gives what the page's participant was told last, by whomever; "" for nothing.
	Layout(ctx context.Context) (string, error)
	// Leave takes the recorder out of the room. CodeNotFound when it is not there.
	Leave(ctx context.Context) error
}

// RoomState is what a LiveKit server knows of a room.
type RoomState struct {
	ID           string // the room's sid (RM_…)
	Exists       bool
	Participants int
}

// The built-in layouts. Those that compose come plain, -light and -dark.
const (
	layoutSpeaker     = "speaker" // the default
	layoutParticipant = "participant"
	layoutAudio       = "audio" // no video is received; the default of audio_only, of one participant too
)

// BuiltInLayouts lists the layouts of the built-in template.
func BuiltInLayouts() []string {
	var all []string
	for _, name := range []string{layoutSpeaker, "grid", "single-speaker", layoutAudio, layoutParticipant} {
		all = append(all, name, name+"-light", name+"-dark")
	}
	return all
}

// UsesBuiltIn reports whether the page is Tapedeck's own template.
func (s Source) UsesBuiltIn() bool { return s.RoomName != "" && s.CustomBaseURL == "" }

// ofParticipant reports whether one participant, not the room, is to be recorded.
func (s Source) ofParticipant() bool {
	return s.Identity != "" || s.AudioTrackID != "" || s.VideoTrackID != ""
}

// LayoutName gives Layout, or Template where only that is set, or what the
// built-in template then shows.
func (j Job) LayoutName() string {
	switch {
	case j.Layout != "":
		return j.Layout
	case j.Template != "" || !j.UsesBuiltIn():
		return j.Template
	case j.AudioOnly:
		return layoutAudio
	case j.ofParticipant():
		return layoutParticipant
	default:
		return layoutSpeaker
	}
}

// awaitRoom returns when the room exists: a page that joined before would make
// it, and then record nobody until somebody comes. Without rights on the server
// the page finds out.
func (l *life) awaitRoom(ctx context.Context) error {
	if l.room == nil {
		return nil
	}
	timeout := l.job.Limits.Start()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(roomPoll)
	defer tick.Stop()
	var away error
	for {
		state, err := l.askRoom(ctx)
		switch {
		case err == nil && state.Exists:
			return nil
		case err == nil && len(l.rec.Earlier) > 0:
			return endedFor{reason: EndRoomClosed, err: Errorf(CodeNotFound, "room %q is over: it does not exist any more", l.job.RoomName)}
		case err == nil:
			away = nil
		case ctx.Err() != nil:
		case CodeOf(err) == CodeUnavailable, errors.Is(err, context.DeadlineExceeded):
			away = err
		default:
			return err
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		switch {
		case !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return context.Cause(ctx)
		case away != nil:
			return Errorf(CodeStartTimeout, "the LiveKit server did not answer within %s: %w", timeout, away)
		}
		return Errorf(CodeStartTimeout, "room %q does not exist: nobody created or joined it within %s (limits.start_timeout)",
			l.job.RoomName, timeout)
	}
}

// roomPoll is how often a server is asked for a room that is not there yet, and
// roomWatch for one that is being recorded.
const (
	roomPoll  = 500 * time.Millisecond
	roomWatch = 3 * time.Second
	// roomSilence is how long a server has not answered when it is called lost.
	roomSilence = 10 * time.Second
)

// watchRoom answers why the room is over: nobody has been in it, or it has not
// existed, for empty_timeout. It backs the page, whose word comes first: many
// pages never notice that they show an empty room. A server that does not answer
// says nothing about the room.
func (l *life) watchRoom(ctx context.Context) EndReason {
	if l.room == nil {
		return ""
	}
	tick := time.NewTicker(roomWatch)
	defer tick.Stop()
	var since time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ""
		}
		state, err := l.askRoom(ctx)
		switch {
		case err != nil:
			since = time.Time{}
			l.Log.Debug("the room's state is not known", zap.String("error", l.scrub().Text(err.Error())))
			continue
		case state.Participants > 0:
			since = time.Time{}
			continue
		case since.IsZero():
			since = l.Now()
		}
		if l.Now().Sub(since) < l.job.Limits.Empty() {
			continue
		}
		if state.Exists {
			return EndRoomEmpty
		}
		return EndRoomClosed
	}
}

func (l *life) askRoom(ctx context.Context) (RoomState, error) {
	ctx, cancel := context.WithTimeout(ctx, roomWatch)
	defer cancel()
	state, err := l.room.State(ctx)
	if err != nil {
		return state, err
	}
	l.answered.Store(int64(l.elapsed()))
	if state.ID != "" {
		l.roomID.CompareAndSwap(nil, &state.ID)
	}
	return state, nil
}

// endOf says why a page logged END_RECORDING: its own word where it gave one,
// else what the server knows. One question that was not answered says nothing;
// silence for roomSilence does.
func (l *life) endOf(ctx context.Context) EndReason {
	if n, ok := l.session.(Noter); ok {
		if reason := EndReason(n.Note(MarkerEnd)); reason.ofPage() {
			return reason
		}
	}
	if l.room == nil {
		return EndSignal
	}
	state, err := l.askRoom(context.WithoutCancel(ctx))
	switch {
	case err == nil && !state.Exists:
		return EndRoomClosed
	case CodeOf(err) == CodeUnavailable && l.elapsed()-time.Duration(l.answered.Load()) >= roomSilence:
		return EndConnectionLost
	default:
		return EndSignal
	}
}

// overBefore says why a room was over before its page logged START_RECORDING: a
// page that is loaded again would enter it against somebody's will.
func (l *life) overBefore() EndReason {
	if n, ok := l.session.(Noter); ok {
		switch reason := EndReason(n.Note(MarkerEnd)); reason {
		case EndRoomClosed, EndRemoved:
			return reason
		default:
		}
	}
	return ""
}

// roomGone reports whether the server says that the room does not exist.
func (l *life) roomGone(ctx context.Context) bool {
	if l.room == nil {
		return false
	}
	state, err := l.askRoom(ctx)
	return err == nil && !state.Exists
}

// leaveTimeout bounds saying goodbye to a room.
const leaveTimeout = time.Second

// leaveRoom takes the recorder out of its room. The server would show it, and the
// room as being recorded, until it misses the browser.
func (l *life) leaveRoom(ctx context.Context) {
	switch {
	case l.room == nil, l.session == nil:
		return
	case l.rec.EndReason == EndLeaseLost: // whoever has the job is there under the same identity
		return
	case l.rec.EndReason == EndRoomClosed, l.rec.EndReason == EndConnectionLost:
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := l.room.Leave(ctx); err != nil && CodeOf(err) != CodeNotFound {
		l.Log.Debug("the recorder did not leave the room", zap.String("error", l.scrub().Text(err.Error())))
	}
}

// setLayout changes the picture while recording, and what a page shows that has
// to be loaded again.
func (l *life) setLayout(ctx context.Context, layout string) error {
	switch {
	case l.job.RoomName == "":
		return Errorf(CodeInvalid, "layout: %q: the job records a web page, and only the template page of a room has layouts", layout)
	case l.room == nil:
		return Errorf(CodeInvalid, "layout: %q: this worker has no rights on the LiveKit server: configure livekit.api_key and livekit.api_secret", layout)
	}
	next := l.job
	next.Layout, next.Template = layout, ""
	if err := next.Validate(); err != nil { // what a job would be refused for
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	if err := l.room.SetLayout(ctx, layout); err != nil {
		return err
	}
	l.layout.Store(&layout)
	return nil
}

// learnLayout asks what the page was told that is to be loaded again: livekit-server tells pages by itself, and
// remembers a participant who has gone for some seconds.
func (l *life) learnLayout(ctx context.Context) {
	if l.room == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, layoutTimeout)
	defer cancel()
	layout, err := l.room.Layout(ctx)
	switch {
	case err != nil:
		l.Log.Debug("the page's layout is not known", zap.String("error", l.scrub().Text(err.Error())))
	case layout != "" && layout != l.shown().LayoutName() && l.job.withLayout(layout).LayoutName() == layout:
		l.layout.Store(&layout)
	}
}

// layoutTimeout is for a question while the picture stands still.
const layoutTimeout = time.Second

func builtInRemedy() string {
	return "the built-in template has " + strings.Join(BuiltInLayouts(), ", ") + "; name one, or a template page of yours with custom_base_url"
}

// shown is the job with the layout as it is now.
func (l *life) shown() Job {
	job := l.job
	if layout := l.layout.Load(); layout != nil {
		return job.withLayout(*layout)
	}
	return job
}

// repeatLayout tells a page that was loaded again what changed meanwhile: its
// address had the layout of before.
func (l *life) repeatLayout(ctx context.Context, shown *string) {
	layout := l.layout.Load()
	if layout == shown {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	if err := l.room.SetLayout(ctx, *layout); err != nil {
		l.Log.Warn("the layout was not set again", zap.String("error", l.scrub().Text(err.Error())))
	}
}

// firstURL is the address the page is opened at for the first time. The built-in template may then wait for
// whom the recording is of; one that is brought back shows at once that nobody is there.
func (l *life) firstURL() (string, error) {
	address, err := l.pageURL()
	if err == nil && l.awaitsSomebody() {
		address += "&start_timeout=" + inSeconds(l.job.Limits.Start())
	}
	return address, err
}

func (l *life) awaitsSomebody() bool {
	return l.job.UsesBuiltIn() && l.job.ofParticipant() && len(l.rec.Earlier) == 0
}

// noteAbsent is what the built-in template notes when it waited in vain.
const noteAbsent = "absent"

// absent says who did not come, nil where nobody was waited for in vain.
func (l *life) absent() error {
	n, ok := l.session.(Noter)
	if !ok || !l.awaitsSomebody() || n.Note(MarkerEnd) != noteAbsent {
		return nil
	}
	var who []string
	if l.job.Identity != "" {
		who = append(who, fmt.Sprintf("participant %q (identity)", l.job.Identity))
	}
	for name, track := range map[string]string{"audio_track_id": l.job.AudioTrackID, "video_track_id": l.job.VideoTrackID} {
		if track != "" {
			who = append(who, fmt.Sprintf("track %q (%s)", track, name))
		}
	}
	slices.Sort(who)
	return Errorf(CodeStartTimeout, "%s did not come into room %q within %s (limits.start_timeout)",
		strings.Join(who, " with "), l.job.RoomName, l.job.Limits.Start())
}

// pageURL is the address the page is opened at, now.
func (l *life) pageURL() (string, error) {
	return PageURL(l.shown(), l.task.Pass, l.templates)
}
