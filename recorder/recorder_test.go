package recorder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

const (
	secretToken = "tok-5ecret5ecret"
	secretKey   = "live_1234_5ecretkey"
	streamURL   = "rtmp://ingest.example.com/app/" + secretKey
)

func roomJob() recorder.Job {
	return recorder.Job{
		ID: "job1",
		Source: recorder.Source{
			RoomName: "stand-up", CustomBaseURL: "https://templates.example.com/page", Token: secretToken,
		},
		Files:   []recorder.FileOutput{{Filepath: "out.mp4"}},
		Streams: []recorder.StreamOutput{{URLs: []string{streamURL}}},
	}
}

// stage is one Recorder.Run on fakes, within a synctest bubble.
type stage struct {
	t        *testing.T
	job      recorder.Job
	session  *recordertest.FakeSession
	room     *recordertest.FakeRoom // entered when pass has an AdminToken
	pass     recorder.Pass
	pauses   []recorder.Span // of the parts before
	earlier  []recorder.Part
	pipeline *recordertest.FakePipeline
	recorder recorder.Recorder
	commands chan recorder.Command
	cancel   context.CancelCauseFunc
	began    time.Time
	served   int // built-in templates that are being served
	logs     *observer.ObservedLogs

	ended   chan struct{}
	result  recorder.Recording
	mu      sync.Mutex
	reports []recorder.Recording
}

// onStage plays one scene and checks what holds for every recording.
func onStage(t *testing.T, scene func(s *stage)) {
	t.Helper()
	// The bubble fails when Run leaves a goroutine behind.
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		s := &stage{
			t: t, job: roomJob(), session: &recordertest.FakeSession{}, room: &recordertest.FakeRoom{},
			pass: recorder.Pass{URL: "wss://livekit.example.com"}, commands: make(chan recorder.Command),
			ended: make(chan struct{}), logs: logs,
		}
		s.recorder = recorder.Recorder{
			OpenSession: func(context.Context, recorder.SessionSpec) (recorder.Session, error) { return s.session, nil },
			NewPipeline: func(spec recorder.PipelineSpec) (recorder.Pipeline, error) {
				s.pipeline = recordertest.NewFakePipeline(spec)
				return s.pipeline, nil
			},
			ServeTemplate: func() (string, func(), error) {
				s.served++
				return "http://127.0.0.1:9/", func() { s.served-- }, nil
			},
			EnterRoom: func(recorder.Task) recorder.Room { return s.room },
			Now:       time.Now, Log: zap.New(core),
		}
		s.session.OnClose = func() {
			if s.pipeline != nil {
				select {
				case <-s.pipeline.Ended():
				default:
					t.Error("the session was closed before the pipeline had ended")
				}
			}
		}
		scene(s)
		s.settle()
	})
}

// start begins the run; the stage's fields must not change after it.
func (s *stage) start(dir string) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel, s.began = cancel, time.Now()
	rec := recorder.NewRecording(s.job, time.Now())
	rec.Status, rec.Pauses, rec.Earlier = recorder.StatusStarting, s.pauses, s.earlier
	task := recorder.Task{Job: s.job, Recording: rec, Dir: dir, Pass: s.pass}
	go func() {
		s.result = s.recorder.Run(ctx, task, s.commands, func(rec recorder.Recording) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reports = append(s.reports, rec)
		})
		close(s.ended)
	}()
}

// begin runs until the recording is active.
func (s *stage) begin() {
	s.t.Helper()
	s.start(s.t.TempDir())
	synctest.Wait()
	s.session.Log(recorder.MarkerStart)
	synctest.Wait()
	require.Equal(s.t, recorder.StatusActive, s.last().Status)
}

func (s *stage) last() recorder.Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[len(s.reports)-1]
}

func (s *stage) end() recorder.Recording {
	<-s.ended
	return s.result
}

func (s *stage) send(c recorder.Command) {
	s.commands <- c
	synctest.Wait()
}

func (s *stage) settle() {
	<-s.ended
	s.cancel(nil)
	assert.Equal(s.t, recorder.StatusEnding, s.result.Status)
	assert.NotEmpty(s.t, s.result.EndReason)
	assert.Zero(s.t, s.served)
	assert.NotZero(s.t, s.result.EndedAt)
	at := recorder.StatusQueued
	for _, r := range s.reports {
		assert.True(s.t, r.Status == at || at.Follows(r.Status), "%s after %s", r.Status, at)
		at = r.Status
	}
	assert.Equal(s.t, recorder.StatusEnding, at)
	if s.result.Error != nil {
		assert.NotEmpty(s.t, s.result.Error.Message)
	}
	text, err := json.Marshal(append(s.reports, s.result))
	require.NoError(s.t, err)
	told := string(text)
	for _, e := range s.logs.All() {
		told += "\n" + e.Message + fmt.Sprint(e.ContextMap())
	}
	for _, secret := range []string{secretToken, secretKey, "5ecret"} {
		assert.NotContains(s.t, told, secret)
	}
}

func leaky(code recorder.Code, what string) error {
	return recorder.Errorf(code, "%s: https://templates.example.com/page?token=%s and %s", what, secretToken, streamURL)
}

func TestRecordFromMarkerToMarker(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(t.TempDir())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		select {
		case <-s.pipeline.Begun():
			t.Fatal("began before the marker")
		default:
		}
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		started := time.Now()
		time.Sleep(5 * time.Second)
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()

		assert.Nil(t, rec.Error)
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.Equal(t, started.UnixNano(), rec.StartedAt)
		assert.Equal(t, time.Now().UnixNano(), rec.EndedAt)
		require.Len(t, rec.Files, 1)
		assert.Equal(t, recorder.FilePending, rec.Files[0].State)
		assert.Equal(t, []string{"h264", "aac"}, rec.Files[0].Codecs)
		assert.False(t, rec.Files[0].Partial)
		assert.EqualValues(t, 5, rec.Files[0].Size)
		assert.Equal(t, 1, s.session.Closed())
		assert.Contains(t, s.session.URLs()[0], "token="+secretToken)
		assert.Contains(t, s.session.URLs()[0], "livekit.example.com")
		assert.GreaterOrEqual(t, len(s.reports), 8, "starting, active, five of progress, ending")
	})
}

func TestWebPageIsRecordedFromItsLoad(t *testing.T) {
	onStage(t, func(s *stage) {
		s.job.Source = recorder.Source{URL: "https://example.com/x"}
		s.start(t.TempDir())
		synctest.Wait()
		s.session.Log(recorder.MarkerLoaded)
		synctest.Wait()
		<-s.pipeline.Begun()
		s.send(recorder.Command{Kind: recorder.CommandStop})
		assert.Equal(t, recorder.EndStopped, s.end().EndReason)
	})
}

func TestStartTimeout(t *testing.T) {
	onStage(t, func(s *stage) {
		s.session.Diagnosis = recorder.Diagnosis{
			URL: "https://templates.example.com/page?token=" + secretToken, HTTPStatus: 200,
			Console: []string{"joining with " + secretToken}, NetError: "to " + streamURL,
		}
		s.start(t.TempDir())
		rec := s.end()
		assert.Equal(t, 90*time.Second, time.Since(s.began), "three waits of the default 30 s")
		assert.Len(t, s.session.URLs(), 3)
		require.NotNil(t, rec.Error)
		assert.Equal(t, recorder.CodeStartTimeout, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "Start signal not received")
		assert.Equal(t, recorder.EndStartFailed, rec.EndReason)
		require.NotNil(t, rec.Diagnosis)
		assert.Equal(t, 200, rec.Diagnosis.HTTPStatus)
		assert.Contains(t, s.session.Diagnosis.Console[0], secretToken, "the session's own lines are not touched")
		assert.Equal(t, recorder.FileEmpty, rec.Files[0].State)
		assert.Zero(t, rec.StartedAt)
		assert.Equal(t, recorder.StatusFailed, recorder.Conclude(rec).Status)
	})
}

func TestPageThatNeverLoads(t *testing.T) {
	onStage(t, func(s *stage) {
		none := 0
		s.job.Source = recorder.Source{URL: "https://example.com"}
		s.job.Limits = recorder.Limits{StartTimeout: recorder.Duration(7 * time.Second), ReloadAttempts: &none}
		s.session.OnNavigate = func(ctx context.Context, _ int, _ string) error {
			<-ctx.Done()
			return ctx.Err() // as a browser library would, without the cause
		}
		s.start(t.TempDir())
		rec := s.end()
		assert.Equal(t, 7*time.Second, time.Since(s.began))
		assert.Equal(t, recorder.CodeStartTimeout, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "the page did not load within 7s")
	})
}

func TestFailuresBeforeTheStart(t *testing.T) {
	dead := fmt.Errorf("Xvfb exited: %w", recorder.ErrSessionDied)
	for name, c := range map[string]struct {
		set    func(s *stage)
		code   recorder.Code
		reason recorder.EndReason
		loads  int
		says   string
	}{
		"page load error": {
			func(s *stage) {
				s.session.OnNavigate = func(context.Context, int, string) error { return leaky(recorder.CodePageLoad, "HTTP 502") }
			}, recorder.CodePageLoad, recorder.EndStartFailed, 3, "HTTP 502",
		},
		"div.error": {
			func(s *stage) {
				s.session.OnNavigate = func(context.Context, int, string) error {
					return leaky(recorder.CodePageError, "template error: no room")
				}
			}, recorder.CodePageError, recorder.EndStartFailed, 3, "template error: no room",
		},
		"crash at every load": {
			func(s *stage) {
				s.session.OnNavigate = func(context.Context, int, string) error { return recorder.ErrPageCrashed }
			}, recorder.CodePageCrashed, recorder.EndStartFailed, 3, "page crashed",
		},
		"the session dies": {
			func(s *stage) {
				s.session.OnNavigate = func(context.Context, int, string) error { return dead }
			}, recorder.CodeSessionDied, recorder.EndSessionDied, 1, "Xvfb exited",
		},
		"no session": {
			func(s *stage) {
				s.recorder.OpenSession = func(context.Context, recorder.SessionSpec) (recorder.Session, error) {
					return nil, errors.New("no display for " + streamURL)
				}
			}, recorder.CodeUnavailable, recorder.EndSessionDied, 0, "no display",
		},
		"a session that dies as it opens": {
			func(s *stage) {
				s.recorder.OpenSession = func(context.Context, recorder.SessionSpec) (recorder.Session, error) { return nil, dead }
			}, recorder.CodeUnavailable, recorder.EndSessionDied, 0, "Xvfb exited",
		},
		"no pipeline": {
			func(s *stage) {
				s.recorder.NewPipeline = func(recorder.PipelineSpec) (recorder.Pipeline, error) {
					return nil, errors.New("no element x264enc for " + streamURL)
				}
			}, recorder.CodePipeline, recorder.EndPipeline, 0, "x264enc",
		},
		"no template here": {
			func(s *stage) { s.job.CustomBaseURL, s.recorder.ServeTemplate = "", nil },
			recorder.CodeInvalid, recorder.EndStartFailed, 0, "custom_base_url",
		},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				c.set(s)
				s.start(t.TempDir())
				rec := s.end()
				require.NotNil(t, rec.Error)
				assert.Equal(t, c.code, rec.Error.Code)
				assert.Equal(t, c.reason, rec.EndReason)
				assert.Contains(t, rec.Error.Message, c.says)
				assert.Len(t, s.session.URLs(), c.loads)
				if c.code != recorder.CodeUnavailable {
					assert.Equal(t, 1, s.session.Closed())
				}
				assert.Equal(t, recorder.FileEmpty, rec.Files[0].State)
			})
		})
	}
}

func TestSessionThatNeverComesUp(t *testing.T) {
	onStage(t, func(s *stage) {
		s.recorder.OpenSession = func(ctx context.Context, _ recorder.SessionSpec) (recorder.Session, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s.start(t.TempDir())
		rec := s.end()
		assert.Equal(t, recorder.CodeUnavailable, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "did not come up within 30s")
		assert.Equal(t, 30*time.Second, time.Since(s.began))
	})
}

func TestSecondLoadSucceeds(t *testing.T) {
	onStage(t, func(s *stage) {
		s.session.OnNavigate = func(_ context.Context, try int, _ string) error {
			if try == 1 {
				return leaky(recorder.CodePageLoad, "HTTP 503")
			}
			s.session.Log(recorder.MarkerStart)
			return nil
		}
		s.start(t.TempDir())
		synctest.Wait()
		s.session.Log(recorder.MarkerEnd)
		assert.Nil(t, s.end().Error)
	})
}

func TestStopBeforeTheStart(t *testing.T) {
	aborted := func(t *testing.T, s *stage, reason recorder.EndReason) {
		rec := s.end()
		require.NotNil(t, rec.Error)
		assert.Equal(t, recorder.CodeAborted, rec.Error.Code)
		assert.Equal(t, "Stop called before pipeline could start", rec.Error.Message)
		assert.Equal(t, reason, rec.EndReason)
		assert.Equal(t, recorder.StatusAborted, recorder.Conclude(rec).Status)
		assert.Zero(t, time.Since(s.began))
	}
	t.Run("while the page loads", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.send(recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndDrained})
			aborted(t, s, recorder.EndDrained)
			assert.Equal(t, 1, s.session.Closed())
		})
	})
	t.Run("while the session opens", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.recorder.OpenSession = func(ctx context.Context, _ recorder.SessionSpec) (recorder.Session, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			s.start(t.TempDir())
			s.send(recorder.Command{Kind: recorder.CommandStop})
			aborted(t, s, recorder.EndStopped)
		})
	})
	t.Run("while the pipeline begins", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.OnBegin = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s.session.Log(recorder.MarkerStart)
			s.send(recorder.Command{Kind: recorder.CommandStop})
			aborted(t, s, recorder.EndStopped)
		})
	})
	t.Run("by a plain cancel", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.cancel(nil)
			aborted(t, s, recorder.EndStopped)
		})
	})
	t.Run("behind more updates than anybody expects", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			for range 40 {
				s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: []string{streamURL}}})
			}
			s.send(recorder.Command{Kind: recorder.CommandStop})
			aborted(t, s, recorder.EndStopped)
		})
	})
}

func TestStopWhileActive(t *testing.T) {
	slow := func(ctx context.Context) error { time.Sleep(3 * time.Second); return nil }
	for name, c := range map[string]struct {
		stop    func(s *stage)
		reason  recorder.EndReason
		hurried bool
	}{
		"a stop": {func(s *stage) { s.send(recorder.Command{Kind: recorder.CommandStop}) }, recorder.EndStopped, false},
		"a second stop": {func(s *stage) {
			s.send(recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndDrained})
			s.send(recorder.Command{Kind: recorder.CommandStop})
		}, recorder.EndDrained, true},
		"a third stop": {func(s *stage) {
			for range 3 {
				s.send(recorder.Command{Kind: recorder.CommandStop, Now: true})
			}
		}, recorder.EndStopped, true},
		"a stop now":                {func(s *stage) { s.send(recorder.Command{Kind: recorder.CommandStop, Now: true}) }, recorder.EndStopped, true},
		"a plain cancel":            {func(s *stage) { s.cancel(nil) }, recorder.EndStopped, false},
		"a lost lease":              {func(s *stage) { s.cancel(recorder.Stop{Reason: recorder.EndLeaseLost, Now: true}) }, recorder.EndLeaseLost, true},
		"a cancel without a reason": {func(s *stage) { s.cancel(recorder.Stop{}) }, recorder.EndStopped, false},
		"the end of the commands":   {func(s *stage) { close(s.commands); synctest.Wait(); s.cancel(nil) }, recorder.EndStopped, false},
		"a command nobody knows": {func(s *stage) {
			s.send(recorder.Command{Kind: "pause"})
			assert.Equal(s.t, recorder.StatusActive, s.last().Status)
			s.send(recorder.Command{Kind: recorder.CommandStop})
		}, recorder.EndStopped, false},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.begin()
				s.pipeline.OnEnd = slow
				c.stop(s)
				rec := s.end()
				assert.Equal(t, c.reason, rec.EndReason)
				assert.Nil(t, rec.Error)
				assert.Equal(t, recorder.FilePending, rec.Files[0].State)
				select {
				case <-s.pipeline.Hurried():
					assert.True(t, c.hurried, "hurried")
				default:
					assert.False(t, c.hurried, "hurried")
				}
			})
		})
	}
}

func TestLimitsOfARecording(t *testing.T) {
	t.Run("max_duration", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.job.Limits.MaxDuration = recorder.Duration(42*time.Minute + 300*time.Millisecond)
			s.begin()
			rec := s.end()
			assert.Equal(t, recorder.EndMaxDuration, rec.EndReason)
			assert.Equal(t, 42*time.Minute+300*time.Millisecond, time.Since(s.began))
		})
	})
	t.Run("max_size", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.job.Limits.MaxSize = 200_000
			s.begin()
			s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Bytes = 199_999 })
			time.Sleep(5 * time.Second)
			synctest.Wait()
			assert.Equal(t, recorder.StatusActive, s.last().Status)
			s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Bytes = 200_000 })
			assert.Equal(t, recorder.EndMaxSize, s.end().EndReason)
		})
	})
}

func TestCrashedTabIsLoadedAgain(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		s.pipeline.Holds = make(chan bool, 8)
		s.session.Crash(fmt.Errorf("renderer gone: %w", recorder.ErrPageCrashed))
		synctest.Wait()
		assert.True(t, <-s.pipeline.Holds)
		assert.Empty(t, s.pipeline.Holds)
		assert.Len(t, s.session.URLs(), 2)
		assert.Equal(t, recorder.StatusActive, s.last().Status)
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.False(t, <-s.pipeline.Holds)
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.Nil(t, rec.Error)
		assert.Nil(t, rec.Diagnosis)
	})
}

func TestPageThatLeavesForOneThatDoesNotLoad(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		s.pipeline.Holds = make(chan bool, 8)
		for range 3 {
			s.session.Refuse(recorder.MarkerEnd, leaky(recorder.CodePageLoad, "it does not load"))
			synctest.Wait()
			s.session.Log(recorder.MarkerStart)
			synctest.Wait()
		}
		assert.True(t, <-s.pipeline.Holds)
		rec := s.end()
		assert.Len(t, s.session.URLs(), 3, "the first load and two reloads")
		assert.Equal(t, recorder.CodePageLoad, rec.Error.Code)
		assert.Equal(t, recorder.StatusFailed, recorder.Conclude(rec).Status)
	})
}

func TestTabThatCrashesTooOften(t *testing.T) {
	for name, crash := range map[string]error{
		"wrapped":  leaky(recorder.CodePageCrashed, "the renderer is gone"),
		"sentinel": recorder.ErrPageCrashed,
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.session.Diagnosis.Console = []string{"out of memory"}
				s.begin()
				for range 3 {
					s.session.Crash(crash)
					synctest.Wait()
					s.session.Log(recorder.MarkerStart)
					synctest.Wait()
				}
				rec := s.end()
				assert.Equal(t, recorder.CodePageCrashed, rec.Error.Code)
				assert.Equal(t, recorder.EndPageCrashed, rec.EndReason)
				assert.Len(t, s.session.URLs(), 3, "the first load and two reloads")
				assert.NotZero(t, rec.StartedAt)
				assert.Equal(t, recorder.FilePending, rec.Files[0].State)
				require.NotNil(t, rec.Diagnosis)
				assert.Equal(t, []string{"out of memory"}, rec.Diagnosis.Console)
				assert.Equal(t, recorder.StatusFailed, recorder.Conclude(rec).Status)
			})
		})
	}
}

func TestReloadAfterACrashFails(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		crashed := time.Now()
		s.session.Crash(recorder.ErrPageCrashed)
		rec := s.end()
		assert.Equal(t, recorder.CodePageCrashed, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "loading it again failed")
		assert.Contains(t, rec.Error.Message, "Start signal not received")
		assert.LessOrEqual(t, time.Since(crashed), 2*30*time.Second)
	})
}

func TestEndsOfAPage(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.session.Refuse(recorder.MarkerEnd, recorder.ErrPageClosed)
			rec := s.end()
			assert.Equal(t, recorder.EndPageClosed, rec.EndReason)
			assert.Nil(t, rec.Error)
		})
	})
	t.Run("the session dies", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.session.Die(recorder.ErrSessionDied)
			rec := s.end()
			assert.Equal(t, recorder.EndSessionDied, rec.EndReason)
			assert.Equal(t, recorder.CodeSessionDied, rec.Error.Code)
			assert.Equal(t, recorder.FilePending, rec.Files[0].State)
			assert.Nil(t, rec.Diagnosis, "there is nobody to ask")
		})
	})
	t.Run("the session dies in a reload", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.session.OnNavigate = func(context.Context, int, string) error { return recorder.ErrSessionDied }
			s.session.Crash(recorder.ErrPageCrashed)
			assert.Equal(t, recorder.EndSessionDied, s.end().EndReason)
		})
	})
}

func TestPipelineFailures(t *testing.T) {
	broken := leaky(recorder.CodePipeline, "not negotiated")
	failed := func(t *testing.T, rec recorder.Recording, says string) {
		require.NotNil(t, rec.Error)
		assert.Equal(t, recorder.CodePipeline, rec.Error.Code)
		assert.Equal(t, recorder.EndPipeline, rec.EndReason)
		assert.Contains(t, rec.Error.Message, says)
		assert.Equal(t, recorder.StatusFailed, recorder.Conclude(rec).Status)
	}
	t.Run("for want of room", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.pipeline.Fail(recorder.Errorf(recorder.CodePipeline, "file a.mp4: %w", syscall.ENOSPC))
			rec := s.end()
			assert.Equal(t, recorder.EndDiskFull, rec.EndReason)
			assert.Equal(t, recorder.CodePipeline, rec.Error.Code)
		})
	})
	t.Run("mid-way", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.pipeline.Fail(broken)
			rec := s.end()
			failed(t, rec, "not negotiated")
			assert.True(t, rec.Files[0].Partial)
			assert.Equal(t, recorder.FilePending, rec.Files[0].State)
		})
	})
	t.Run("mid-way with an error of no code", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.pipeline.Fail(errors.New("gst: " + streamURL))
			failed(t, s.end(), "gst: rtmp://ingest.example.com/app/{liv...key}")
		})
	})
	t.Run("it ends by itself", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.pipeline.Fail(nil)
			failed(t, s.end(), "ended by itself")
		})
	})
	t.Run("while the page loads", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.Fail(broken)
			rec := s.end()
			failed(t, rec, "not negotiated")
			assert.Zero(t, time.Since(s.began), "the page is not waited for")
			assert.Zero(t, rec.StartedAt)
		})
	})
	t.Run("it ends by itself while the page loads", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.Fail(nil)
			failed(t, s.end(), "ended by itself")
		})
	})
	t.Run("at the beginning", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.OnBegin = func(context.Context) error { return errors.New("no picture") }
			s.session.Log(recorder.MarkerStart)
			failed(t, s.end(), "no picture")
		})
	})
	t.Run("dies while a begin waits", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.OnBegin = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s.session.Log(recorder.MarkerStart)
			synctest.Wait()
			s.pipeline.Fail(broken)
			failed(t, s.end(), "not negotiated")
			assert.Zero(t, time.Since(s.began))
		})
	})
	t.Run("capture never begins", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.OnBegin = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s.session.Log(recorder.MarkerStart)
			failed(t, s.end(), "capture did not begin within 30s")
		})
	})
	t.Run("at the end", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.begin()
			s.pipeline.OnEnd = func(context.Context) error { return leaky(recorder.CodePipeline, "the file was not finalised") }
			s.send(recorder.Command{Kind: recorder.CommandStop})
			rec := s.end()
			assert.Equal(t, recorder.EndStopped, rec.EndReason)
			assert.Equal(t, recorder.CodePipeline, rec.Error.Code)
			assert.True(t, rec.Files[0].Partial)
		})
	})
	t.Run("nothing on disk", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.job.Files = append(s.job.Files, recorder.FileOutput{Filepath: "second.mp3"})
			s.start(t.TempDir())
			synctest.Wait()
			s.pipeline.Spec.Outputs = s.pipeline.Spec.Outputs[:1] // the second file is never written
			s.session.Log(recorder.MarkerStart)
			synctest.Wait()
			s.session.Log(recorder.MarkerEnd)
			rec := s.end()
			assert.Equal(t, recorder.FilePending, rec.Files[0].State)
			assert.Equal(t, recorder.FileEmpty, rec.Files[1].State)
			assert.Zero(t, rec.Files[1].Width, "a sound file has no size")
		})
	})
}

func TestSessionThatDoesNotClose(t *testing.T) {
	onStage(t, func(s *stage) {
		s.session.CloseErr = leaky(recorder.CodeInternal, "left a socket")
		s.begin()
		s.session.Log(recorder.MarkerEnd)
		assert.Nil(t, s.end().Error, "what is recorded is recorded")
		assert.Equal(t, 1, s.logs.FilterMessageSnippet("did not close cleanly").Len())
	})
}

func TestUpdates(t *testing.T) {
	key := func(n int) string { return fmt.Sprintf("rtmp://ingest.example.com/app/5ecret-%d-long-enough", n) }
	add := func(urls ...string) recorder.Command {
		return recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: urls}}
	}
	remove := func(names ...string) recorder.Command {
		return recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{RemoveStreamURLs: names}}
	}
	onStage(t, func(s *stage) {
		s.start(t.TempDir())
		s.send(add(key(1))) // before the start: waits for it
		assert.Empty(t, s.pipeline.Calls())
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.Equal(t, []string{"add " + recorder.StreamID(key(1))}, s.pipeline.Calls())
		s.send(add(key(1)))
		assert.Len(t, s.pipeline.Calls(), 1, "the same command again changes nothing")
		s.send(add(key(2), key(3)))
		assert.Len(t, s.pipeline.Calls(), 2, "a fourth stream is refused")
		assert.Equal(t, 1, s.logs.FilterMessage("a stream was not added").Len())
		s.send(remove(streamURL, recorder.StreamID(key(1))))
		assert.Equal(t, recorder.StreamFinished, s.last().Streams[0].State)
		assert.Equal(t, recorder.StreamFinished, s.last().Streams[1].State)
		s.send(remove("st_00000000", "st_../../etc/passwd", key(9)))
		assert.Equal(t, 3, s.logs.FilterMessage("a stream was not removed").Len())
		s.send(add(key(3), key(4)))
		assert.Len(t, s.last().Streams, 5, "those that ended make room")
		s.send(add("file:///etc/5ecret", "5ecret-key", "javascript:5ecret"))
		assert.Len(t, s.last().Streams, 5)
		assert.Equal(t, recorder.StatusActive, s.last().Status)

		// A pipeline whose error quotes the URL that an update brought.
		s.pipeline.OnAdd = func(context.Context, string) error { return errors.New("refused " + key(5)) }
		s.send(remove(recorder.StreamID(key(4))))
		s.send(add(key(5)))
		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Streams[0].Error = "lost " + key(5) + " and " + streamURL })
		time.Sleep(time.Second)
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		assert.Nil(t, rec.Error)
		assert.Contains(t, rec.Streams[0].Error, "lost rtmp://ingest.example.com/app/{5ec...ugh}")
	})
}

func TestUpdateOfASoundRecording(t *testing.T) {
	onStage(t, func(s *stage) {
		s.job.AudioOnly, s.job.Streams = true, nil
		s.begin()
		s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: []string{streamURL}}})
		assert.Len(t, s.pipeline.Calls(), 1, "LiveKit streams sound alone, too")
		s.session.Log(recorder.MarkerEnd)
		assert.Nil(t, s.end().Error)
	})
}

func TestUpdateThatHangs(t *testing.T) {
	onStage(t, func(s *stage) {
		s.job.Limits.MaxDuration = recorder.Duration(5 * time.Second)
		s.begin()
		s.pipeline.OnRemove = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{RemoveStreamURLs: []string{streamURL}}})
		assert.Equal(t, recorder.EndMaxDuration, s.end().EndReason)
		assert.LessOrEqual(t, time.Since(s.began), 11*time.Second)
	})
}

// A room's job is cut off in no phase by what the page says too late or twice.
func TestMarkersAreRepeated(t *testing.T) {
	onStage(t, func(s *stage) {
		s.session.OnNavigate = func(context.Context, int, string) error {
			s.session.Log(recorder.MarkerStart)
			s.session.Log(recorder.MarkerStart)
			s.session.Log(recorder.MarkerEnd)
			return nil
		}
		s.start(t.TempDir())
		rec := s.end()
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.Nil(t, rec.Error)
	})
}

func TestRunWithoutCommandsOrReport(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		session := &recordertest.FakeSession{}
		session.OnNavigate = func(context.Context, int, string) error {
			session.Log(recorder.MarkerStart)
			session.Log(recorder.MarkerEnd)
			return nil
		}
		r := recorder.Recorder{
			OpenSession: func(context.Context, recorder.SessionSpec) (recorder.Session, error) { return session, nil },
			NewPipeline: func(spec recorder.PipelineSpec) (recorder.Pipeline, error) {
				return recordertest.NewFakePipeline(spec), nil
			},
			Now: time.Now, Log: zap.NewNop(),
		}
		job := roomJob()
		rec := r.Run(context.Background(), recorder.Task{Job: job, Recording: recorder.NewRecording(job, time.Now()), Dir: dir}, nil, nil)
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.False(t, strings.Contains(fmt.Sprint(rec), secretKey))
	})
}

func TestRecordingThatStandsStillEnds(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Elapsed = recorder.Duration(time.Minute) })
		rec := s.end()
		assert.Equal(t, recorder.EndPipeline, rec.EndReason)
		assert.Contains(t, rec.Error.Message, "stands still")
		assert.InDelta(t, 8, time.Since(s.began).Seconds(), 2)
		assert.Equal(t, recorder.FilePending, rec.Files[0].State, "what there is is kept")
	})
}
