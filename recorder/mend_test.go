package recorder_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// gone is a session's death of which capture says who died.
func gone(reason recorder.EndReason) error {
	return &recorder.Error{
		Code: recorder.CodeSessionDied, Message: "it ended: signal: killed: " + secretKey, Err: recorder.Died(reason),
	}
}

func TestBrowserThatDiedIsReplaced(t *testing.T) {
	onStage(t, func(s *stage) {
		s.session.OnRevive = func(context.Context, int) error {
			time.Sleep(1200 * time.Millisecond)
			return nil
		}
		s.begin()
		s.pipeline.Holds = make(chan bool, 8)
		died := time.Now()
		s.session.Die(gone(recorder.EndBrowserDied))
		synctest.Wait()
		assert.True(t, <-s.pipeline.Holds, "while another one starts")
		assert.Len(t, s.session.URLs(), 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Empty(t, s.pipeline.Holds, "until the page starts")
		assert.Len(t, s.session.URLs(), 2)
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.False(t, <-s.pipeline.Holds)
		rec := s.last()
		assert.Equal(t, recorder.StatusActive, rec.Status)
		require.Len(t, rec.Incidents, 1, "it is told at once")
		i := rec.Incidents[0]
		assert.Equal(t, recorder.EndBrowserDied, i.Reason)
		assert.Equal(t, died.UnixNano(), i.At)
		assert.Equal(t, int64(2*time.Second), i.Lost)
		assert.Contains(t, i.Text, "signal: killed")

		s.session.Log(recorder.MarkerEnd)
		rec = s.end()
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.Nil(t, rec.Error)
		assert.Len(t, rec.Incidents, 1)
		assert.Equal(t, 1, s.session.Revived())
	})
}

func TestCrashedTabIsAnIncident(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		s.session.Crash(recorder.ErrPageCrashed)
		synctest.Wait()
		time.Sleep(time.Second)
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		require.Len(t, rec.Incidents, 1)
		assert.Equal(t, recorder.EndPageCrashed, rec.Incidents[0].Reason)
		assert.Equal(t, int64(time.Second), rec.Incidents[0].Lost)
		assert.Zero(t, s.session.Revived(), "a tab needs no other browser")
	})
}

func TestBrowserThatStaysDead(t *testing.T) {
	zero := 0
	for name, c := range map[string]struct {
		set     func(s *stage)
		reason  recorder.EndReason
		code    recorder.Code
		revived int
		says    string
	}{
		"no other one starts": {
			func(s *stage) {
				s.session.OnRevive = func(context.Context, int) error { return gone(recorder.EndBrowserDied) }
			}, recorder.EndBrowserDied, recorder.CodeSessionDied, 2, "signal: killed",
		},
		"the other one hangs": {
			func(s *stage) {
				s.session.OnRevive = func(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }
			}, recorder.EndBrowserDied, recorder.CodeSessionDied, 2, "did not start within 20s",
		},
		"the page does not start in the other one": {
			func(*stage) {}, recorder.EndBrowserDied, recorder.CodePageCrashed, 2, "Start signal not received",
		},
		"the display is gone as well": {
			func(s *stage) {
				s.session.OnRevive = func(context.Context, int) error { return gone(recorder.EndDisplayDied) }
			}, recorder.EndDisplayDied, recorder.CodeSessionDied, 1, "signal: killed",
		},
		"the job allows no other try": {
			func(s *stage) { s.job.Limits.ReloadAttempts = &zero },
			recorder.EndBrowserDied, recorder.CodeSessionDied, 0, "signal: killed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				c.set(s)
				s.begin()
				s.session.Die(gone(recorder.EndBrowserDied))
				rec := s.end()
				assert.Equal(t, c.reason, rec.EndReason)
				require.NotNil(t, rec.Error)
				assert.Equal(t, c.code, rec.Error.Code)
				assert.Contains(t, rec.Error.Message, c.says)
				assert.Equal(t, c.revived, s.session.Revived())
				assert.Equal(t, recorder.FilePending, rec.Files[0].State)
				assert.Nil(t, rec.Diagnosis, "there is nobody to ask")
			})
		})
	}
}

func TestDeathsThatNobodySurvives(t *testing.T) {
	for _, reason := range []recorder.EndReason{recorder.EndDisplayDied, recorder.EndSoundDied} {
		t.Run(string(reason), func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.begin()
				s.session.Die(gone(reason))
				rec := s.end()
				assert.Equal(t, reason, rec.EndReason)
				assert.Zero(t, s.session.Revived())
				assert.Zero(t, time.Since(s.began))
			})
		})
		t.Run(string(reason)+", felt by the pipeline first", func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.begin()
				s.pipeline.Fail(leaky(recorder.CodePipeline, "display :7 is gone"))
				synctest.Wait()
				s.session.Die(gone(reason))
				assert.Equal(t, reason, s.end().EndReason)
			})
		})
	}
}

func TestTriesAreForgiven(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		for range 4 { // twice the tries there are
			time.Sleep(61 * time.Second)
			s.session.Die(gone(recorder.EndBrowserDied))
			synctest.Wait()
			s.session.Log(recorder.MarkerStart)
			synctest.Wait()
		}
		for range 2 {
			s.session.Crash(recorder.ErrPageCrashed)
			synctest.Wait()
			s.session.Log(recorder.MarkerStart)
			synctest.Wait()
		}
		rec := s.end()
		assert.Equal(t, recorder.EndPageCrashed, rec.EndReason, "tabs and browsers count as one")
		assert.Len(t, rec.Incidents, 5)
	})
}

func TestReloadThatFailsGetsAnotherBrowser(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		s.session.OnNavigate = func(ctx context.Context, try int, _ string) error {
			if try == 2 { // as when Chrome can start no renderer any more
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		s.session.Crash(recorder.ErrPageCrashed)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		s.session.Log(recorder.MarkerEnd)
		assert.Equal(t, recorder.EndSignal, s.end().EndReason)
		assert.Equal(t, 1, s.session.Revived())
	})
}

func TestRoomThatIsOverGetsNoOtherBrowser(t *testing.T) {
	inRoom(t, recorder.RoomState{Exists: true, Participants: 1}, nil, func(s *stage) {
		s.begin()
		s.room.Set(recorder.RoomState{}, nil)
		s.session.Die(gone(recorder.EndBrowserDied))
		assert.Equal(t, recorder.EndRoomClosed, s.end().EndReason)
		assert.Zero(t, s.session.Revived())
	})
}

func TestStopWhileAnotherBrowserStarts(t *testing.T) {
	onStage(t, func(s *stage) {
		s.session.OnRevive = func(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }
		s.begin()
		s.session.Die(gone(recorder.EndBrowserDied))
		synctest.Wait()
		s.send(recorder.Command{Kind: recorder.CommandStop})
		rec := s.end()
		assert.Equal(t, recorder.EndStopped, rec.EndReason)
		assert.Nil(t, rec.Error)
		assert.Zero(t, time.Since(s.began))
	})
}

func TestBrowserThatDiesBeforeTheStart(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(t.TempDir())
		synctest.Wait()
		s.session.Die(gone(recorder.EndBrowserDied))
		synctest.Wait()
		assert.Equal(t, 1, s.session.Revived())
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.Equal(t, recorder.StatusActive, s.last().Status)
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.Empty(t, rec.Incidents, "nothing was recorded yet")
	})
}
