package recorder_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// lostJob is a job that worker w0 recorded for a minute, until a moment ago.
func lostJob(change ...func(*recorder.Job)) (recorder.Job, recorder.Recording) {
	job := fileJob("a")
	for _, c := range change {
		c(&job)
	}
	now := time.Now()
	rec := recorder.NewRecording(job, now.Add(-2*time.Minute))
	rec.Status, rec.Attempt, rec.Worker = recorder.StatusActive, 2, "w1"
	rec.StartedAt, rec.UpdatedAt = now.Add(-time.Minute).UnixNano(), now.UnixNano()
	for i := range rec.Files {
		rec.Files[i].StartedAt, rec.Files[i].EndedAt = rec.StartedAt, rec.UpdatedAt
	}
	return job, rec
}

// rescues has every lost file completed up to cut before its end.
func (y *yard) rescues(cut time.Duration) (asked *[]recorder.Recording) {
	asked = &[]recorder.Recording{}
	y.spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
		*asked = append(*asked, rec.Clone())
		for i := range rec.Files {
			f := &rec.Files[i]
			f.State, f.Partial = recorder.FileDelivered, cut != 0
			f.EndedAt -= int64(cut)
		}
		return rec, nil
	}
	return asked
}

func TestTakeoverRescuesAndRecordsOn(t *testing.T) {
	inYard(t, func(y *yard) {
		tally := y.tally()
		asked := y.rescues(2 * time.Second)
		job, rec := lostJob()
		before := recordertest.NewFakeLease(job, rec)
		before.Note("1/file-0", "an upload")
		l := before.Next(rec)
		l.Previous = "w0"
		var notes map[string]string
		rescue, rescued := y.spool.OnRescue, make(chan struct{})
		y.spool.OnRescue = func(ctx context.Context, rec recorder.Recording, n map[string]string) (recorder.Recording, []string) {
			notes = n
			<-rescued
			return rescue(ctx, rec, n)
		}
		y.start()
		time.Sleep(5 * time.Second) // until the lease expired
		y.queue.Put(l)
		synctest.Wait()
		assert.Equal(t, []string{"a"}, y.worker.Running(), "recording on does not wait for a storage")
		task := <-y.runner.Started
		assert.Equal(t, "a.part2.mp4", task.Recording.Files[0].Filename)
		time.Sleep(time.Minute)
		close(rescued)
		synctest.Wait()
		now := l.End().Reports[len(l.End().Reports)-1]
		assert.Equal(t, recorder.FileDelivered, now.Earlier[0].Files[0].State, "it is told at once")

		l.Sent <- stopCommand()
		got := y.finished(l)
		assert.Equal(t, recorder.StatusComplete, got.Status)
		assert.Nil(t, got.Error)
		require.Len(t, got.Earlier, 1)
		part := got.Earlier[0]
		assert.Equal(t, []any{1, "w0", 1, recorder.EndWorkerLost}, []any{part.Part, part.Worker, part.Attempt, part.EndReason})
		assert.True(t, part.Files[0].Partial)
		assert.Equal(t, 58*time.Second, time.Duration(part.EndedAt-part.StartedAt))
		require.Len(t, got.Incidents, 1)
		assert.Equal(t, recorder.EndWorkerLost, got.Incidents[0].Reason)
		assert.Equal(t, 7*time.Second, time.Duration(got.Incidents[0].Lost))
		assert.Contains(t, got.Incidents[0].Text, "worker w0 was lost")
		assert.Equal(t, []recorder.EndReason{recorder.EndWorkerLost}, tally.incidents)
		assert.Equal(t, map[string]string{"1/file-0": "an upload"}, notes)
		require.Len(t, *asked, 1)
		assert.Empty(t, (*asked)[0].EndReason, "the job goes on")
		assert.Equal(t, "w0", (*asked)[0].Worker)
		y.allFreed()
	})
}

func TestLostRecordingThatIsNotGoneOnWith(t *testing.T) {
	old := func(rec *recorder.Recording) { rec.UpdatedAt -= int64(11 * time.Minute) }
	for name, c := range map[string]struct {
		job    func(*recorder.Job)
		rec    func(*recorder.Recording)
		lost   bool // its files are not rescued
		status recorder.Status
		reason recorder.EndReason
		code   recorder.Code
	}{
		"as the job says": {
			job: func(j *recorder.Job) { j.OnWorkerLoss = recorder.LossEnd }, status: recorder.StatusFailed,
			reason: recorder.EndWorkerLost, code: recorder.CodeWorkerLost,
		},
		"nothing rescued": {
			job: func(j *recorder.Job) { j.OnWorkerLoss = recorder.LossEnd }, lost: true, status: recorder.StatusFailed,
			reason: recorder.EndWorkerLost, code: recorder.CodeWorkerLost,
		},
		"long ago": {rec: old, status: recorder.StatusFailed, reason: recorder.EndWorkerLost, code: recorder.CodeWorkerLost},
		"of many parts": {
			rec: func(rec *recorder.Recording) { rec.Part = recorder.MostParts }, status: recorder.StatusFailed,
			reason: recorder.EndWorkerLost, code: recorder.CodeWorkerLost,
		},
		"its time is up": {
			job:    func(j *recorder.Job) { j.Limits.MaxDuration = recorder.Duration(time.Minute) },
			status: recorder.StatusLimitReached, reason: recorder.EndMaxDuration,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				if !c.lost {
					y.rescues(time.Second)
				}
				job, rec := lostJob(func(j *recorder.Job) {
					if c.job != nil {
						c.job(j)
					}
				})
				if c.rec != nil {
					c.rec(&rec)
				}
				tally := y.tally()
				y.start()
				l := y.putAs(job, rec)
				got := y.finished(l)
				assert.Equal(t, c.status, got.Status)
				assert.Equal(t, c.reason, got.EndReason)
				if c.reason == recorder.EndWorkerLost {
					assert.Equal(t, []recorder.EndReason{recorder.EndWorkerLost}, tally.incidents, "it is counted once")
					assert.Empty(t, got.Incidents, "it is the end")
				}
				if c.code != "" {
					require.NotNil(t, got.Error)
					assert.Equal(t, c.code, got.Error.Code)
				}
				assert.Empty(t, got.Earlier, "the lost part is the last one")
				require.Len(t, got.Files, 1)
				assert.Equal(t, rec.Files[0].Filename, got.Files[0].Filename)
				assert.NotZero(t, got.EndedAt)
				if c.lost {
					assert.Equal(t, recorder.FilePending, got.Files[0].State)
					assert.Contains(t, got.Files[0].Error, "has not come back")
				} else {
					assert.Equal(t, recorder.FileDelivered, got.Files[0].State)
				}
				assert.Empty(t, y.spool.Entries(), "nothing is recorded")
				assert.Empty(t, y.worker.Running())
			})
		})
	}
}

func TestTakeoverOfARoomThatIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		cut    time.Duration
		status recorder.Status
	}{
		"cut off": {time.Second, recorder.StatusFailed},
		"whole":   {0, recorder.StatusComplete},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				y.rescues(c.cut)
				y.acts(fails(recorder.CodeNotFound, recorder.EndRoomClosed))
				y.start()
				got := y.finished(y.putAs(lostJob()))
				assert.Equal(t, c.status, got.Status)
				assert.Equal(t, recorder.EndRoomClosed, got.EndReason)
				if c.cut != 0 {
					assert.Equal(t, recorder.CodeWorkerLost, got.Error.Code)
				}
				assert.Equal(t, recorder.FileDelivered, got.Files[0].State)
				assert.Equal(t, 1, got.Part)
				y.allFreed()
			})
		})
	}
}

// A worker that cannot record gives a lost job to others, with what it rescued.
func TestTakeoverByAnUnfitWorker(t *testing.T) {
	inYard(t, func(y *yard) {
		y.rescues(time.Second)
		y.acts(fails(recorder.CodeUnavailable, recorder.EndSessionDied))
		y.start()
		l := y.putAs(lostJob())
		<-l.Ended
		synctest.Wait()
		end := l.End()
		assert.True(t, end.Released)
		assert.False(t, end.Counted)
		last := end.Reports[len(end.Reports)-1]
		assert.Equal(t, recorder.FileDelivered, last.Earlier[0].Files[0].State)

		next := l.Next(last) // its next worker begins that part again
		next.Lose()
		y.rescues(0)
		y.acts()
		other := recordertest.NewFakeLease(fileJob("a"), last)
		y.queue.Put(other)
		time.Sleep(time.Minute)
		task := <-y.runner.Started
		assert.Equal(t, 2, task.Recording.Part)
		assert.Len(t, task.Recording.Earlier, 1)
		other.Sent <- stopCommand()
		assert.Equal(t, recorder.StatusComplete, y.finished(other).Status)
	})
}

// Who takes a lost job over and cannot even begin leaves what it learned to the next one: which part was
// whose, what is rescued of it, and how old the loss is.
func TestTakeoverThatDoesNotBegin(t *testing.T) {
	for name, refuse := range map[string]func(y *yard){
		"no room in the spool": func(y *yard) { y.spool.CreateErr = errors.New("no space left on device") },
		"no display": func(y *yard) {
			y.runner.Play = func(ctx context.Context, task recorder.Task, _ <-chan recorder.Command, _ func(recorder.Recording)) recorder.Recording {
				return fails(recorder.CodeUnavailable, recorder.EndSessionDied)(ctx, task, nil, func(recorder.Recording) {}) // a child that does not start
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				asked := y.rescues(2 * time.Second)
				tally := y.tally()
				refuse(y)
				job, rec := lostJob()
				rec.Streams = []recorder.StreamResult{{ID: "st_1", State: recorder.StreamActive, StartedAt: rec.StartedAt, Duration: int64(time.Minute)}}
				first := recordertest.NewFakeLease(job, rec)
				first.Previous = "w0"
				y.start()
				y.queue.Put(first)
				<-first.Ended
				synctest.Wait()
				require.True(t, first.End().Released)
				requireLegal(t, first)
				kept := first.End().Kept
				require.Len(t, kept.Earlier, 1)
				assert.Equal(t, []any{"w0", recorder.FileDelivered}, []any{kept.Earlier[0].Worker, kept.Earlier[0].Files[0].State})
				assert.Equal(t, []any{2, int64(0), recorder.EndReason("")}, []any{kept.Part, kept.StartedAt, kept.EndReason})
				assert.Equal(t, "a.part2.mp4", kept.Files[0].Filename)

				time.Sleep(5 * time.Minute)
				second := recordertest.NewFakeLease(job, kept)
				second.Previous = "w2"
				y.queue.Put(second)
				<-second.Ended
				synctest.Wait()
				kept = second.End().Kept
				require.Len(t, kept.Earlier, 1, "it is lost once")
				assert.Equal(t, "w0", kept.Earlier[0].Worker)
				assert.Len(t, *asked, 1, "it is rescued")
				assert.Equal(t, []recorder.EndReason{recorder.EndWorkerLost}, tally.incidents)
				assert.Equal(t, int64(time.Minute), kept.Streams[0].Duration)

				time.Sleep(5 * time.Minute)
				got := y.finished(y.queue.Put(recordertest.NewFakeLease(job, kept)))
				assert.Equal(t, recorder.EndWorkerLost, got.EndReason, "who gave it back made the loss no younger")
			})
		})
	}
}

// A presigned URL takes one object: no part may replace what another has for it.
func TestPresignedURLIsForOnePart(t *testing.T) {
	inYard(t, func(y *yard) {
		job := fileJob("a")
		job.Files[0].UploadURL = "https://example.com/put?X-Amz-Signature=s3cret"
		nothing := func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := dies(time.Minute, recorder.EndDisplayDied)(ctx, task, commands, report)
			rec.Files[0].State = recorder.FileEmpty
			return rec
		}
		y.acts(nothing, dies(time.Minute, recorder.EndDisplayDied))
		y.start()
		l := y.putAs(job, recorder.NewRecording(job, time.Now()))
		time.Sleep(3 * time.Minute)
		l.Sent <- stopCommand()
		y.finished(l)
		var urls []string
		for _, e := range y.spool.Entries() {
			urls = append(urls, e.Task().Job.Files[0].UploadURL)
		}
		assert.Equal(t, []string{job.Files[0].UploadURL, job.Files[0].UploadURL, ""}, urls)
	})
}

const playlist = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n" +
	"#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:4.000,\nlive_00000.ts\n"

func segmentsJob(j *recorder.Job) {
	j.Files, j.Segments = nil, []recorder.SegmentOutput{{PlaylistName: "live.m3u8"}}
}

func TestPlaylistsGoOnAfterATakeover(t *testing.T) {
	for name, c := range map[string]struct {
		after    time.Duration
		playlist string
		wait     time.Duration
	}{
		"in time":  {time.Second, "live.m3u8", time.Second},
		"too late": {time.Minute, "live.part2.m3u8", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				y.spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
					time.Sleep(c.after)
					rec.Segments[0].State = recorder.FileDelivered
					return rec, []string{playlist}
				}
				y.start()
				began := time.Now()
				l := y.putAs(lostJob(segmentsJob))
				task := <-y.runner.Started
				assert.Equal(t, c.wait, time.Since(began))
				assert.Equal(t, c.playlist, task.Recording.Segments[0].PlaylistName)
				assert.Equal(t, c.playlist == "live.m3u8", len(task.Playlists) == 1 && task.Playlists[0] == playlist)
				l.Sent <- stopCommand()
				got := y.finished(l)
				assert.Equal(t, c.playlist == "live.m3u8", got.Earlier[0].Segments[0].Continued)
			})
		})
	}
}

// The worker that was to go on in a playlist was lost before it did: who comes after goes on in it.
func TestPlaylistsGoOnAfterTwoTakeovers(t *testing.T) {
	inYard(t, func(y *yard) {
		y.spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
			rec.Segments[0].State = recorder.FileDelivered
			return rec, []string{playlist}
		}
		job, rec := lostJob(segmentsJob)
		rec.Segments[0].State = recorder.FileDelivered // by the rescue of the second
		rec.Earlier = []recorder.Part{{
			Part: 1, StartedAt: rec.StartedAt, EndedAt: rec.UpdatedAt, EndReason: recorder.EndWorkerLost, Segments: rec.Clone().Segments,
		}}
		rec.Part, rec.StartedAt, rec.Status, rec.Segments = 2, 0, recorder.StatusStarting, nil
		y.start()
		l := y.putAs(job, rec)
		task := <-y.runner.Started
		assert.Equal(t, "live.m3u8", task.Recording.Segments[0].PlaylistName)
		assert.Equal(t, []string{playlist}, task.Playlists)
		l.Sent <- stopCommand()
		got := y.finished(l)
		assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Segments[0].State)
	})
}

// What a part that never began was to go on in is ended.
func TestPlaylistsEndWhereNobodyGoesOn(t *testing.T) {
	inYard(t, func(y *yard) {
		var reasons []recorder.EndReason
		y.spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
			reasons = append(reasons, rec.EndReason)
			rec.Segments[0].State = recorder.FileDelivered
			return rec, []string{playlist}
		}
		y.acts(fails(recorder.CodeNotFound, recorder.EndRoomClosed))
		y.start()
		got := y.finished(y.putAs(lostJob(segmentsJob)))
		assert.Equal(t, []recorder.EndReason{"", recorder.EndWorkerLost}, reasons)
		assert.False(t, got.Segments[0].Continued)
		assert.Equal(t, recorder.FileDelivered, got.Segments[0].State)
	})
}

// A playlist that was rescued for a part which never began, or came too late for it, gets its end from whoever
// ends the job.
func TestPlaylistsThatNobodyWentOnIn(t *testing.T) {
	ends := func(y *yard, wait time.Duration) (reasons *[]recorder.EndReason) {
		reasons = &[]recorder.EndReason{}
		y.spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
			time.Sleep(wait)
			*reasons = append(*reasons, rec.EndReason)
			rec.Segments[0].State = recorder.FileDelivered
			return rec, []string{playlist}
		}
		return reasons
	}
	t.Run("too late", func(t *testing.T) {
		inYard(t, func(y *yard) {
			reasons := ends(y, 3*time.Second)
			y.start()
			l := y.putAs(lostJob(segmentsJob))
			time.Sleep(time.Minute)
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, "live.part2.m3u8", got.Segments[0].PlaylistName)
			assert.Equal(t, []recorder.EndReason{"", recorder.EndWorkerLost}, *reasons)
			assert.Equal(t, recorder.StatusComplete, got.Status)
		})
	})
	t.Run("never", func(t *testing.T) {
		inYard(t, func(y *yard) {
			reasons := ends(y, 0)
			job, rec := lostJob(segmentsJob)
			rec.Segments[0].State, rec.Segments[0].Continued = recorder.FileDelivered, true
			rec.Earlier = []recorder.Part{{
				Part: 1, Worker: "w0", StartedAt: rec.StartedAt, EndedAt: rec.UpdatedAt, EndReason: recorder.EndWorkerLost, Segments: rec.Segments,
			}}
			rec.Part, rec.StartedAt, rec.Segments = 2, 0, nil
			rec.Status, rec.EndReason = recorder.StatusEnding, recorder.EndTooManyTries
			rec.Error = recorder.Errorf(recorder.CodeWorkerLost, "tried 3 times")
			y.start()
			l := recordertest.NewFakeLease(job, rec)
			l.Previous = "w2"
			var by string
			rescue := y.spool.OnRescue
			y.spool.OnRescue = func(ctx context.Context, rec recorder.Recording, notes map[string]string) (recorder.Recording, []string) {
				by = rec.Worker
				return rescue(ctx, rec, notes)
			}
			got := y.finished(y.queue.Put(l))
			assert.Equal(t, []recorder.EndReason{recorder.EndWorkerLost}, *reasons)
			assert.Equal(t, "w0", by, "whose spool has it, and not who had the job last")
			assert.False(t, got.Segments[0].Continued)
			assert.Equal(t, recorder.FileDelivered, got.Segments[0].State)
		})
	})
}

func TestPlaylistsGoOnAfterAFault(t *testing.T) {
	for name, c := range map[string]struct {
		next      act
		continued bool
	}{
		"in the next part":            {nil, true},
		"no part follows after all":   {fails(recorder.CodeNotFound, recorder.EndRoomClosed), false},
		"the next part is slow to be": {after(time.Minute, nil), true},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				y.spool.OnPlaylists = func(recorder.Recording) []string { return []string{playlist} }
				var given []recorder.Recording
				y.spool.OnDeliver = func(_ context.Context, rec recorder.Recording) recorder.FileState {
					given = append(given, rec)
					return ""
				}
				next := c.next
				switch {
				case next == nil:
					next = y.runner.Record
				case c.continued:
					next = after(time.Minute, y.runner.Record)
				}
				y.acts(dies(time.Minute, recorder.EndDisplayDied), next)
				job := fileJob("a")
				segmentsJob(&job)
				y.start()
				l := y.putAs(job, recorder.NewRecording(job, time.Now()))
				time.Sleep(3 * time.Minute)
				if c.continued {
					l.Sent <- stopCommand()
				}
				y.finished(l)
				require.NotEmpty(t, given)
				assert.Equal(t, 1, given[0].Part)
				assert.Equal(t, c.continued, given[0].Segments[0].Continued, "who delivers the playlist")
			})
		})
	}
}

func TestLostEndingJobIsRescued(t *testing.T) {
	inYard(t, func(y *yard) {
		y.rescues(0)
		job, rec := lostJob()
		rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusEnding, recorder.EndSignal, rec.UpdatedAt
		rec.Files[0].State = recorder.FileUploading
		y.start()
		got := y.finished(y.putAs(job, rec))
		assert.Equal(t, recorder.StatusComplete, got.Status, "everything is there")
		assert.Equal(t, recorder.EndSignal, got.EndReason)
		assert.Empty(t, got.Earlier)
	})
	inYard(t, func(y *yard) { // of two parts, the last of which never began
		y.rescues(0)
		job, rec := lostJob()
		rec = rec.Clone()
		rec.Earlier = []recorder.Part{{Part: 1, StartedAt: rec.StartedAt, EndedAt: rec.UpdatedAt, EndReason: recorder.EndDisplayDied, Files: rec.Files}}
		rec.Part, rec.StartedAt, rec.Files = 2, 0, nil
		rec.Status, rec.EndReason = recorder.StatusEnding, recorder.EndStopped
		rec.Error = recorder.Errorf(recorder.CodeAborted, "stopped")
		y.start()
		got := y.finished(y.putAs(job, rec))
		assert.Equal(t, recorder.StatusComplete, got.Status)
		assert.Equal(t, 1, got.Part)
		assert.Equal(t, recorder.FileDelivered, got.Files[0].State)
	})
}

// All slots are taken: what the lost worker uploaded is rescued all the same.
func TestLostJobIsRescuedByABusyWorker(t *testing.T) {
	inYard(t, func(y *yard) {
		asked := y.rescues(2 * time.Second)
		job, rec := lostJob()
		rec.Status, rec.EndReason = recorder.StatusEnding, recorder.EndWorkerLost
		rec.Error = recorder.Errorf(recorder.CodeWorkerLost, "it has not come back")
		y.start()
		busy := y.put("busy")
		<-y.runner.Started
		before := recordertest.NewFakeLease(job, rec)
		got := y.finished(y.queue.Stray(before.Next(rec)))
		assert.Equal(t, recorder.StatusFailed, got.Status)
		assert.Equal(t, recorder.EndWorkerLost, got.EndReason)
		assert.Equal(t, recorder.FileDelivered, got.Files[0].State)
		assert.True(t, got.Files[0].Partial)
		assert.Len(t, *asked, 1)
		assert.Equal(t, []string{"busy"}, y.worker.Running())
		busy.Sent <- stopCommand()
		y.finished(busy)
	})
}

// cut is what an earlier life of this worker has in the spool of a job that goes on.
func (y *yard) cut(change ...func(*recorder.Recording)) *recordertest.FakeEntry {
	job, rec := lostJob()
	for _, c := range change {
		c(&rec)
	}
	task := recorder.Task{Job: job, Recording: rec, Dir: y.t.TempDir()}
	require.NoError(y.t, recordertest.WriteMedia(task, 0))
	e := y.spool.Entry(task)
	y.spool.Leave(e)
	return e
}

// superseded is a part that a display's death ended and another one followed.
func superseded(rec *recorder.Recording) {
	rec.Status, rec.EndedAt = recorder.StatusEnding, rec.UpdatedAt
	rec.Fail(recorder.Errorf(recorder.CodeSessionDied, "it died"), "", recorder.EndDisplayDied)
	rec.Files[0].State = recorder.FilePending
	rec.Meet(recorder.Incident{Reason: recorder.EndDisplayDied, At: rec.UpdatedAt})
}

func second(rec *recorder.Recording) {
	first := rec.Clone()
	superseded(&first)
	rec.Earlier = []recorder.Part{{
		Part: 1, StartedAt: first.StartedAt, EndedAt: first.EndedAt, EndReason: first.EndReason, Files: first.Files,
	}}
	rec.Incidents, rec.Part = first.Incidents, 2
	rec.Files[0].Filename = "a.part2.mp4"
}

func (y *yard) adopts(rec recorder.Recording) *recordertest.FakeLease {
	l := recordertest.NewFakeLease(fileJob("a"), rec)
	taken := false
	y.queue.OnAdopt = func(string) (recorder.Lease, error) {
		if taken {
			return nil, recorder.ErrConflict
		}
		taken = true
		return l, nil
	}
	return l
}

func TestWorkerThatComesBackRecordsOn(t *testing.T) {
	inYard(t, func(y *yard) {
		entry := y.cut(func(rec *recorder.Recording) { // as saved seconds before
			rec.Files[0].StartedAt, rec.Files[0].EndedAt = 0, 0
		})
		_, state := lostJob()
		l := y.adopts(state)
		y.worker.Slots = 1
		other := y.queue.Put(recordertest.NewFakeLease(fileJob("b"), recorder.NewRecording(fileJob("b"), time.Now())))
		time.Sleep(4 * time.Second)
		y.start()
		assert.Equal(t, []string{"a"}, y.worker.Running(), "what was cut off comes first")
		assert.Equal(t, 1, y.queue.Waiting())
		time.Sleep(time.Minute)
		l.Sent <- stopCommand()
		got := y.finished(l)
		assert.Equal(t, recorder.StatusComplete, got.Status)
		assert.Equal(t, 2, got.Part)
		require.Len(t, got.Earlier, 1)
		assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
		assert.Equal(t, recorder.EndWorkerLost, got.Earlier[0].EndReason)
		assert.Equal(t, 4*time.Second, time.Duration(got.Incidents[0].Lost))
		assert.True(t, entry.End().Freed)
		other.Sent <- stopCommand()
		y.finished(other)
		y.allFreed()
	})
}

// A life that accounted for what was cut off, and was killed before it came to the job, changes nothing.
func TestWorkerThatComesBackTwice(t *testing.T) {
	var saved recorder.Task
	inYard(t, func(y *yard) {
		entry := y.cut()
		over := make(chan struct{})
		y.queue.OnAdopt = func(string) (recorder.Lease, error) {
			<-over // for redis is away
			return nil, recorder.ErrNotFound
		}
		y.start()
		time.Sleep(3 * time.Second)
		saved = entry.Task()
		require.Equal(t, recorder.EndWorkerLost, saved.Recording.EndReason, "it is accounted for")
		assert.True(t, saved.CutOff(time.Now()))
		close(over)
		synctest.Wait()
	})
	inYard(t, func(y *yard) { // by the same clock
		time.Sleep(time.Minute)
		y.spool.Leave(y.spool.Entry(saved))
		_, state := lostJob()
		l := y.adopts(state)
		y.start()
		time.Sleep(time.Minute)
		l.Sent <- stopCommand()
		got := y.finished(l)
		assert.Equal(t, recorder.StatusComplete, got.Status)
		assert.Equal(t, 2, got.Part)
	})
}

// What is here gets its end here, where the part that was to go on in it began nowhere.
func TestWorkerThatComesBackAfterOneThatDidNotBegin(t *testing.T) {
	for name, c := range map[string]struct {
		started int64
		unbegun int
	}{
		"nobody began": {0, 2},
		"they did":     {1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				entry := y.cut()
				_, rec := lostJob()
				rec.Earlier = []recorder.Part{{Part: 1, StartedAt: rec.StartedAt, EndReason: recorder.EndWorkerLost, Files: rec.Clone().Files}}
				rec.Part, rec.StartedAt, rec.Status, rec.Files = 2, c.started, recorder.StatusStarting, nil
				l := y.adopts(rec)
				time.Sleep(11 * time.Minute)
				y.start()
				y.finished(l)
				assert.Equal(t, c.unbegun, entry.End().Given.Unbegun)
			})
		})
	}
}

func TestWorkerThatComesBackTooLate(t *testing.T) {
	inYard(t, func(y *yard) {
		y.cut()
		_, state := lostJob()
		l := y.adopts(state)
		time.Sleep(10 * time.Minute)
		y.start()
		got := y.finished(l)
		assert.Equal(t, recorder.StatusFailed, got.Status)
		assert.Equal(t, recorder.EndWorkerLost, got.EndReason)
		assert.Empty(t, got.Earlier)
		y.allFreed()
	})
}

// Of several parts of one job, the newest ends it; the others are its earlier parts.
func TestWorkerThatComesBackWithSeveralParts(t *testing.T) {
	ended := func(rec *recorder.Recording) {
		second(rec)
		rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusEnding, recorder.EndSignal, rec.UpdatedAt
		rec.Files[0].State = recorder.FilePending
	}
	state := func() recorder.Recording {
		_, rec := lostJob()
		second(&rec)
		return rec
	}
	t.Run("together", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.cut(ended)
			y.cut(superseded)
			l := y.adopts(state())
			y.start()
			got := y.finished(l)
			assert.Equal(t, recorder.StatusComplete, got.Status)
			assert.Equal(t, recorder.EndSignal, got.EndReason)
			assert.Equal(t, 2, got.Part)
			require.Len(t, got.Earlier, 1)
			assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
			y.allFreed()
		})
	})
	t.Run("the newest is finalised still", func(t *testing.T) {
		inYard(t, func(y *yard) {
			first := y.cut(superseded)
			l := y.adopts(state())
			y.start()
			time.Sleep(20 * time.Second)
			assert.Zero(t, first.End().Deliveries)
			y.cut(ended)
			got := y.finished(l)
			assert.Equal(t, recorder.StatusComplete, got.Status)
			assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
			assert.True(t, first.End().Freed)
		})
	})
	t.Run("the newest was not begun", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.cut(superseded)
			_, rec := lostJob()
			l := y.adopts(rec)
			y.start()
			time.Sleep(2 * time.Minute)
			assert.Equal(t, []string{"a"}, y.worker.Running())
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, recorder.StatusComplete, got.Status)
			assert.Equal(t, 2, got.Part)
			require.Len(t, got.Incidents, 1, "it was noted then")
			y.allFreed()
		})
	})
	t.Run("another worker had it meanwhile, and is lost", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.rescues(time.Second)
			y.cut()
			_, rec := lostJob()
			rec.Part = 2
			rec.Earlier = []recorder.Part{{Part: 1, StartedAt: rec.StartedAt, EndReason: recorder.EndWorkerLost, Files: rec.Clone().Files}}
			rec.Files[0].Filename = "a.part2.mp4"
			l := y.adopts(rec)
			l.Previous = "w2"
			y.start()
			time.Sleep(time.Minute)
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, 3, got.Part)
			require.Len(t, got.Earlier, 2)
			assert.False(t, got.Earlier[1].Files[0].State != recorder.FileDelivered)
			assert.Equal(t, "w2", got.Earlier[1].Worker)
			assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
			assert.Equal(t, recorder.StatusComplete, got.Status)
			y.allFreed()
		})
	})
	t.Run("another worker had it for an hour, and was lost just now", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.rescues(time.Second)
			y.cut(func(rec *recorder.Recording) { rec.UpdatedAt -= int64(time.Hour) })
			_, rec := lostJob()
			rec.Part = 2
			rec.Earlier = []recorder.Part{{Part: 1, StartedAt: rec.StartedAt, EndReason: recorder.EndWorkerLost, Files: rec.Clone().Files}}
			rec.Files[0].Filename = "a.part2.mp4"
			l := y.adopts(rec)
			y.start()
			time.Sleep(time.Minute)
			assert.Equal(t, []string{"a"}, y.worker.Running(), "there are slots")
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, recorder.StatusComplete, got.Status)
			assert.Equal(t, 3, got.Part)
			assert.Zero(t, y.worker.Load().Running)
			y.allFreed()
		})
	})
	t.Run("another worker recorded the same part meanwhile, and is lost", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.rescues(time.Second)
			ours := y.cut(func(rec *recorder.Recording) { rec.Attempt = 1 })
			_, rec := lostJob()
			rec.Attempt = 2
			l := y.adopts(rec)
			l.Previous = "w2"
			y.start()
			time.Sleep(time.Minute)
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, 2, got.Part)
			require.Len(t, got.Earlier, 1)
			assert.Equal(t, "w2", got.Earlier[0].Worker, "it is their part that was told of")
			assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
			assert.Equal(t, 1, ours.End().Deliveries, "ours is delivered as well")
			y.allFreed()
		})
	})
}

// What is in this worker's spool is its own to deliver, whatever others counted as lost meanwhile.
func TestNobodyRescuesWhatIsHere(t *testing.T) {
	lost := func(rec recorder.Recording) recorder.Part {
		return recorder.Part{
			Part: 1, StartedAt: rec.StartedAt, EndedAt: rec.UpdatedAt, EndReason: recorder.EndWorkerLost,
			Files: []recorder.FileResult{{Filename: "a.mp4", State: recorder.FilePending}},
		}
	}
	t.Run("the part that others counted as lost", func(t *testing.T) {
		inYard(t, func(y *yard) {
			asked := y.rescues(time.Second)
			ours := y.cut(func(rec *recorder.Recording) { rec.Attempt = 1 })
			_, rec := lostJob() // of one who died before the first frame
			rec.Earlier = []recorder.Part{lost(rec)}
			rec.Part, rec.StartedAt, rec.Status, rec.Files = 2, 0, recorder.StatusStarting, nil
			l := y.adopts(rec)
			y.start()
			time.Sleep(time.Minute)
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Empty(t, *asked)
			assert.Equal(t, 2, got.Part)
			require.Len(t, got.Earlier, 1, "it is one part")
			assert.Equal(t, 1, got.Earlier[0].Part)
			assert.Equal(t, recorder.FileDelivered, got.Earlier[0].Files[0].State)
			assert.Equal(t, 1, ours.End().Deliveries)
			y.allFreed()
		})
	})
	t.Run("a part before one that was recorded again", func(t *testing.T) {
		inYard(t, func(y *yard) {
			asked := y.rescues(time.Second)
			first := y.cut(func(rec *recorder.Recording) { rec.Attempt = 1; superseded(rec) })
			again := y.cut(func(rec *recorder.Recording) { rec.Attempt = 1; second(rec) })
			_, rec := lostJob()
			second(&rec)
			l := y.adopts(rec)
			l.Previous = "w2"
			y.start()
			time.Sleep(time.Minute)
			l.Sent <- stopCommand()
			got := y.finished(l)
			assert.Equal(t, 3, got.Part)
			require.Len(t, got.Earlier, 2)
			assert.Equal(t, "w2", got.Earlier[1].Worker)
			for _, of := range *asked {
				assert.Equal(t, 2, of.Part)
				assert.Empty(t, of.Earlier)
			}
			assert.False(t, first.End().Given.Orphan)
			assert.True(t, again.End().Given.Orphan)
			y.allFreed()
		})
	})
}

func TestNotesThatCannotBeReadYet(t *testing.T) {
	inYard(t, func(y *yard) {
		y.rescues(time.Second)
		job, rec := lostJob()
		l := recordertest.NewFakeLease(job, rec)
		tries := 0
		l.OnNotes = func() error {
			if tries++; tries < 10 {
				return errors.New("redis is away")
			}
			return nil
		}
		y.start()
		y.queue.Put(l)
		time.Sleep(time.Minute)
		l.Sent <- stopCommand()
		assert.Equal(t, recorder.FileDelivered, y.finished(l).Earlier[0].Files[0].State)
		assert.Equal(t, 10, tries)
	})
}
