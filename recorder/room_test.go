package recorder_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

const adminToken = "admin-token-of-the-room"

var peopled = recorder.RoomState{Exists: true, Participants: 2}

// inRoom plays a scene whose worker has rights on the room's server.
func inRoom(t *testing.T, state recorder.RoomState, err error, scene func(s *stage)) {
	t.Helper()
	onStage(t, func(s *stage) {
		s.pass = recorder.Pass{URL: "wss://livekit.example.com", Token: "made-token", AdminToken: adminToken}
		s.room.Set(state, err)
		scene(s)
	})
}

func TestBuiltInTemplateIsServedWhileItIsNeeded(t *testing.T) {
	inRoom(t, peopled, nil, func(s *stage) {
		s.job.CustomBaseURL, s.job.Token = "", ""
		s.begin()
		assert.Equal(t, 1, s.served)
		require.Len(t, s.session.URLs(), 1)
		assert.Contains(t, s.session.URLs()[0], "http://127.0.0.1:9/?")
		assert.Contains(t, s.session.URLs()[0], "token=made-token")
		assert.NotContains(t, s.session.URLs()[0], adminToken)
		s.session.Log(recorder.MarkerEnd)
		assert.Equal(t, recorder.EndSignal, s.end().EndReason)
	})
}

func TestRoomIsAwaited(t *testing.T) {
	inRoom(t, recorder.RoomState{}, nil, func(s *stage) {
		s.start(t.TempDir())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Empty(t, s.session.URLs(), "a page would make the room")
		s.room.Set(peopled, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Len(t, s.session.URLs(), 1)
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.Equal(t, recorder.StatusActive, s.last().Status)
		s.send(recorder.Command{Kind: recorder.CommandStop})
		s.end()
	})
}

func TestRoomThatDoesNotCome(t *testing.T) {
	away := recorder.Errorf(recorder.CodeUnavailable, "asking for the room: connection refused")
	refused := recorder.Errorf(recorder.CodeInvalid, "the LiveKit server refuses livekit.api_key")
	for name, c := range map[string]struct {
		err   error
		code  recorder.Code
		says  string
		after time.Duration
	}{
		"never made":     {nil, recorder.CodeStartTimeout, `room "stand-up" does not exist: nobody created or joined it within 7s`, 7 * time.Second},
		"server away":    {away, recorder.CodeStartTimeout, "connection refused", 7 * time.Second},
		"server refuses": {refused, recorder.CodeInvalid, "refuses livekit.api_key", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, recorder.RoomState{}, c.err, func(s *stage) {
				s.job.Limits.StartTimeout = recorder.Duration(7 * time.Second)
				s.start(t.TempDir())
				rec := s.end()
				assert.Equal(t, recorder.EndStartFailed, rec.EndReason)
				assert.Equal(t, c.code, rec.Error.Code)
				assert.Contains(t, rec.Error.Message, c.says)
				assert.Equal(t, c.after, time.Since(s.began).Round(100*time.Millisecond))
			})
		})
	}
}

func TestStopWhileTheRoomIsAwaited(t *testing.T) {
	inRoom(t, recorder.RoomState{}, nil, func(s *stage) {
		s.start(t.TempDir())
		synctest.Wait()
		s.send(recorder.Command{Kind: recorder.CommandStop})
		assert.Equal(t, recorder.CodeAborted, s.end().Error.Code)
	})
}

// Who is recorded alone is waited for, once, and named when they do not come. A page that is brought
// back does not wait.
func TestWhomARecordingIsOf(t *testing.T) {
	alone := func(s *stage) {
		s.job.CustomBaseURL, s.job.Layout, s.job.Identity, s.job.VideoTrackID = "", "", "ada", "TR_1"
	}
	inRoom(t, peopled, nil, func(s *stage) {
		alone(s)
		s.session.OnNavigate = func(context.Context, int, string) error {
			s.session.LogNoted(recorder.MarkerEnd, "absent")
			return recorder.Errorf(recorder.CodePageError, "template error: nobody came")
		}
		s.start(t.TempDir())
		rec := s.end()
		assert.Equal(t, recorder.EndStartFailed, rec.EndReason)
		assert.Equal(t, recorder.CodeStartTimeout, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, `participant "ada" (identity) with track "TR_1" (video_track_id) did not come into room`)
		require.Len(t, s.session.URLs(), 1)
		assert.Contains(t, s.session.URLs()[0], "&start_timeout=30")
	})
	inRoom(t, peopled, nil, func(s *stage) {
		alone(s)
		s.begin()
		s.session.Crash(recorder.ErrPageCrashed)
		synctest.Wait()
		assert.NotContains(t, s.session.URLs()[1], "start_timeout")
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		s.session.Log(recorder.MarkerEnd)
		s.end()
	})
}

// A page that is loaded again enters its room again: never after somebody's word
// that it is not wanted there, and never to make a room that was deleted.
func TestNobodyComesBackUninvited(t *testing.T) {
	for _, reason := range []recorder.EndReason{recorder.EndRemoved, recorder.EndRoomClosed} {
		t.Run(string(reason), func(t *testing.T) {
			inRoom(t, peopled, nil, func(s *stage) {
				s.session.OnNavigate = func(context.Context, int, string) error {
					s.session.LogNoted(recorder.MarkerEnd, string(reason))
					return recorder.Errorf(recorder.CodePageError, "template error: the room could not be recorded: %s", reason)
				}
				s.start(t.TempDir())
				rec := s.end()
				assert.Equal(t, reason, rec.EndReason)
				assert.Equal(t, recorder.CodePageError, rec.Error.Code)
				assert.Len(t, s.session.URLs(), 1)
			})
		})
	}
	t.Run("deleted before the start", func(t *testing.T) {
		inRoom(t, peopled, nil, func(s *stage) {
			s.session.OnNavigate = func(context.Context, int, string) error {
				s.room.Set(recorder.RoomState{}, nil)
				return recorder.Errorf(recorder.CodePageError, "template error: gone")
			}
			s.start(t.TempDir())
			rec := s.end()
			assert.Contains(t, rec.Error.Message, "does not exist")
			assert.Len(t, s.session.URLs(), 1)
		})
	})
	t.Run("deleted at a crash", func(t *testing.T) {
		inRoom(t, peopled, nil, func(s *stage) {
			s.begin()
			s.room.Set(recorder.RoomState{}, nil)
			s.session.Crash(recorder.ErrPageCrashed)
			assert.Equal(t, recorder.EndRoomClosed, s.end().EndReason)
			assert.Len(t, s.session.URLs(), 1)
		})
	})
}

// A server shows a recorder, and its room as being recorded, until it misses it.
func TestRecorderLeavesItsRoom(t *testing.T) {
	for reason, times := range map[recorder.EndReason]int{recorder.EndRoomEmpty: 1, recorder.EndRoomClosed: 0, recorder.EndConnectionLost: 0} {
		inRoom(t, peopled, nil, func(s *stage) {
			s.begin()
			s.session.LogNoted(recorder.MarkerEnd, string(reason))
			assert.Equal(t, reason, s.end().EndReason)
			assert.Equal(t, times, s.room.Left(), reason)
		})
	}
}

func TestEndsOfARoom(t *testing.T) {
	away := recorder.Errorf(recorder.CodeUnavailable, "connection refused")
	for name, c := range map[string]struct {
		note  string
		state recorder.RoomState
		err   error
		after time.Duration
		want  recorder.EndReason
	}{
		"the page says why":          {"room_closed", peopled, nil, 0, recorder.EndRoomClosed},
		"everybody left":             {"room_empty", peopled, nil, 0, recorder.EndRoomEmpty},
		"removed":                    {"recorder_removed", peopled, nil, 0, recorder.EndRemoved},
		"server gone":                {"connection_lost", peopled, nil, 0, recorder.EndConnectionLost},
		"no reason of a page's":      {"drained", peopled, nil, 0, recorder.EndSignal},
		"a page without reasons":     {"", peopled, nil, 0, recorder.EndSignal},
		"its room is gone":           {"", recorder.RoomState{}, nil, 0, recorder.EndRoomClosed},
		"its server is gone":         {"", recorder.RoomState{}, away, 30 * time.Second, recorder.EndConnectionLost},
		"its server hiccups":         {"", recorder.RoomState{}, away, 0, recorder.EndSignal},
		"its rights are gone, alone": {"", recorder.RoomState{}, recorder.Errorf(recorder.CodeInvalid, "no"), time.Minute, recorder.EndSignal},
	} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, peopled, nil, func(s *stage) {
				s.begin()
				s.room.Set(c.state, c.err)
				time.Sleep(c.after)
				s.session.LogNoted(recorder.MarkerEnd, c.note)
				rec := s.end()
				assert.Equal(t, c.want, rec.EndReason)
				status := recorder.Conclude(delivered(rec)).Status
				if c.want == recorder.EndConnectionLost {
					assert.Equal(t, recorder.CodeConnectionLost, rec.Error.Code)
					assert.Equal(t, recorder.StatusFailed, status, "less than what was asked for")
					return
				}
				assert.Nil(t, rec.Error)
				assert.Equal(t, recorder.StatusComplete, status)
			})
		})
	}
}

func delivered(rec recorder.Recording) recorder.Recording {
	for i := range rec.Files {
		rec.Files[i].State = recorder.FileDelivered
	}
	return rec
}

// A page that never notices that it shows an empty room is ended by its recorder.
func TestEmptyRoomEnds(t *testing.T) {
	for name, c := range map[string]struct {
		state recorder.RoomState
		want  recorder.EndReason
	}{
		"everybody left": {recorder.RoomState{Exists: true}, recorder.EndRoomEmpty},
		"deleted":        {recorder.RoomState{}, recorder.EndRoomClosed},
	} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, peopled, nil, func(s *stage) {
				s.job.Limits.EmptyTimeout = recorder.Duration(30 * time.Second)
				s.begin()
				time.Sleep(time.Minute)
				s.room.Set(c.state, nil)
				time.Sleep(20 * time.Second)
				s.room.Set(peopled, nil) // somebody comes back in time
				time.Sleep(20 * time.Second)
				s.room.Set(recorder.RoomState{}, recorder.Errorf(recorder.CodeUnavailable, "away")) // which says nothing
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, recorder.StatusActive, s.last().Status)
				s.room.Set(c.state, nil)
				emptied := time.Now()
				assert.Equal(t, c.want, s.end().EndReason)
				assert.InDelta(t, 32, time.Since(emptied).Seconds(), 4)
			})
		})
	}
}

func TestLayoutChange(t *testing.T) {
	inRoom(t, peopled, nil, func(s *stage) {
		s.begin()
		change := func(layout string) {
			s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{Layout: layout}})
		}
		change("my-grid")
		assert.Equal(t, "my-grid", s.last().Layout)
		s.session.Crash(recorder.ErrPageCrashed)
		synctest.Wait()
		assert.Contains(t, s.session.URLs()[1], "layout=my-grid&template=my-grid", "a page that crashed comes back as it was")
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		s.room.Set(peopled, recorder.Errorf(recorder.CodeUnavailable, "away"))
		change("other")
		assert.Equal(t, []string{"my-grid"}, s.room.Layouts())
		assert.Equal(t, "my-grid", s.last().Layout, "what could not be changed is not shown as if it were")
		s.session.Log(recorder.MarkerEnd)
		s.end()
	})
}

// livekit-server changes layouts without the worker's knowledge: a page that is loaded again has
// the last one all the same, where it is one.
func TestLayoutThatTheServerChanged(t *testing.T) {
	for told, want := range map[string]string{"their-grid": "layout=their-grid&", "": "layout=own&", strings.Repeat("x", 200): "layout=own&"} {
		inRoom(t, peopled, nil, func(s *stage) {
			s.job.Layout = "own"
			s.begin()
			s.room.Tell(told)
			s.session.Crash(recorder.ErrPageCrashed)
			synctest.Wait()
			assert.Contains(t, s.session.URLs()[1], want)
			s.session.Log(recorder.MarkerStart)
			synctest.Wait()
			s.session.Log(recorder.MarkerEnd)
			s.end()
		})
	}
}

func TestLayoutThatCannotChange(t *testing.T) {
	rights := recorder.Pass{URL: "wss://lk", Token: "t", AdminToken: adminToken}
	builtIn := func(job *recorder.Job) { job.CustomBaseURL = "" }
	for name, c := range map[string]struct {
		job    func(job *recorder.Job)
		pass   recorder.Pass
		layout string
		says   string
	}{
		"one participant's, of a room": {builtIn, rights, "participant", "name the participant"},
		"unknown":                      {builtIn, rights, "own", "single-speaker"},
		"web page": {func(job *recorder.Job) {
			job.Source = recorder.Source{URL: "https://example.com", AwaitStartSignal: true}
		}, recorder.Pass{}, "own", "web page"},
		"no rights": {func(*recorder.Job) {}, recorder.Pass{URL: "wss://lk"}, "own", "livekit.api_key"},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				c.job(&s.job)
				s.pass = c.pass
				s.room.Set(peopled, nil)
				s.begin()
				was := s.last().Layout
				s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{Layout: c.layout}})
				assert.Equal(t, was, s.last().Layout)
				warned := s.logs.FilterMessage("the layout was not changed").All()
				require.Len(t, warned, 1)
				assert.Contains(t, warned[0].ContextMap()["error"], c.says)
				s.session.Log(recorder.MarkerEnd)
				s.end()
			})
		})
	}
}

// What waits for a LiveKit server must not keep a recording from its end.
func TestServerThatHangs(t *testing.T) {
	for name, end := range map[string]func(s *stage){
		"stop":  func(s *stage) { s.send(recorder.Command{Kind: recorder.CommandStop}) },
		"limit": func(*stage) {},
		"page":  func(s *stage) { s.session.LogNoted(recorder.MarkerEnd, "room_closed") },
	} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, peopled, nil, func(s *stage) {
				s.job.Limits.MaxDuration = recorder.Duration(time.Second)
				s.begin()
				s.room.Hang()
				s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{Layout: "other"}})
				began := time.Now()
				end(s)
				s.end()
				assert.LessOrEqual(t, time.Since(began), 2100*time.Millisecond, "the limit, and a second to say goodbye")
			})
		})
	}
}

// A layout that changes while a crashed page is loaded again is told to the new page.
func TestLayoutChangesDuringAReload(t *testing.T) {
	inRoom(t, peopled, nil, func(s *stage) {
		s.begin()
		s.session.Crash(recorder.ErrPageCrashed)
		synctest.Wait()
		s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{Layout: "other"}})
		assert.NotContains(t, s.session.URLs()[1], "other")
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.Equal(t, []string{"other", "other"}, s.room.Layouts())
		s.session.Log(recorder.MarkerEnd)
		s.end()
	})
}
