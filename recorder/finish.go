package recorder

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// finish ends the pipeline and the session, in this order, and accounts for
// what there is.
func (l *life) finish(ctx context.Context) {
	l.rec.Status = StatusEnding
	if l.piped != nil {
		l.endPipeline()
	}
	l.rec.EndedAt = l.Now().UnixNano()
	l.account()
	l.tell()
	var leaving sync.WaitGroup
	leaving.Go(func() { l.leaveRoom(ctx) })
	if l.session != nil {
		if err := l.session.Close(); err != nil {
			l.Log.Warn("the session did not close cleanly", zap.String("error", l.scrub().Text(err.Error())))
		}
	}
	leaving.Wait()
}

func (l *life) endPipeline() {
	ended := make(chan struct{})
	go func() {
		select {
		case <-l.hurry:
			if h, ok := l.pipeline.(Hurrier); ok {
				h.Hurry()
			}
		case <-ended:
		}
	}()
	l.cancel(Stop{Reason: l.rec.EndReason})
	l.tell()
	err := <-l.piped
	close(ended)
	if err != nil && l.rec.Error == nil {
		l.rec.Error = l.scrub().Error(AsError(err, CodePipeline))
		if l.rec.EndReason != EndPipeline {
			l.Log.Warn("the pipeline did not end cleanly", zap.String("error", l.rec.Error.Message))
		}
	}
}

// account fills the results from the pipeline's last snapshot and the disk.
func (l *life) account() {
	if l.pipeline == nil || l.rec.StartedAt == 0 {
		for _, r := range l.rec.results() {
			*r.state = FileEmpty
		}
		return
	}
	snap := l.pipeline.Snapshot()
	l.apply(snap)
	l.accountSeries()
	for i := range l.rec.Files {
		f := &l.rec.Files[i]
		name := MediaName(i, *f)
		info, err := os.Stat(filepath.Join(l.task.Dir, name))
		if err != nil || info.Size() == 0 {
			f.State, f.Error = FileEmpty, nothingRecorded
			continue
		}
		f.State, f.Size = FilePending, info.Size()
		for _, out := range snap.Files {
			if out.ID == name {
				f.Partial = !out.Final
				if len(out.Codecs) > 0 {
					f.Codecs = out.Codecs
				}
			}
		}
	}
}

// apply copies a snapshot into the recording.
func (l *life) apply(snap Snapshot) {
	l.rec.Stats = snap.Stats
	l.applySeries(snap)
	if len(snap.Streams) > 0 {
		l.rec.Streams = slices.Clone(snap.Streams)
		for i := range l.rec.Streams {
			s := &l.rec.Streams[i]
			s.URL, s.Error = l.scrub().Text(s.URL), l.scrub().Text(s.Error)
		}
	}
	for i := range l.rec.Files {
		f := &l.rec.Files[i]
		for _, out := range snap.Files {
			if out.ID != MediaName(i, *f) {
				continue
			}
			f.Size, f.Duration = out.Bytes, int64(out.Duration)
			if !out.StartedAt.IsZero() {
				f.StartedAt = out.StartedAt.UnixNano()
				f.EndedAt = l.rec.endOf(out.StartedAt, out.Duration)
				l.rec.StartedAt = f.StartedAt
			}
		}
	}
}

func (l *life) tell() {
	l.rec.UpdatedAt = l.Now().UnixNano()
	if id := l.roomID.Load(); id != nil && l.rec.RoomID == "" {
		l.rec.RoomID = *id
	}
	if l.report != nil {
		l.report(l.rec.Clone())
	}
}
