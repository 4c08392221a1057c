package recorder

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
)

// sequel is what follows an attempt at a job.
type sequel int

const (
	sequelDeliver sequel = iota // deliver what there is, then end the job
	sequelRetry                 // give it back: another try may succeed
	sequelUnfit                 // give it back: this worker cannot record
	sequelDrained               // give it back: this worker shuts down, or has no room left
)

// sequelOf is the only place that decides whether a job gets another try. One
// that recorded anything does not; nor does one whose page failed, for that was
// loaded as often as the job asked.
func sequelOf(rec Recording) sequel {
	if begun(rec) || rec.Error == nil {
		return sequelDeliver
	}
	switch rec.Error.Code {
	case CodeAborted:
		if rec.EndReason == EndDrained || rec.EndReason == EndDiskFull { // which no client can say
			return sequelDrained
		}
	case CodeUnavailable:
		return sequelUnfit
	case CodeSessionDied, CodeChildDied, CodeWorkerLost:
		return sequelRetry
	default:
	}
	return sequelDeliver
}

// Conclude gives the final status of a recording whose delivery is over. It is
// the only place that decides between complete, failed, aborted and limit_reached. A
// last part that never began leaves the job to the one before it.
func Conclude(rec Recording) Recording {
	rec = rec.unlessBegun().unpaused()
	undelivered, missing := firstUndelivered(rec), firstMissing(rec)
	switch {
	case rec.Error == nil && undelivered != nil && *undelivered.state == FileEmpty:
		rec.Error = Errorf(CodePipeline, "%s is empty: nothing was recorded", undelivered.name)
	case rec.Error == nil && undelivered != nil:
		rec.Error = Errorf(CodeUpload, "%s was not delivered: %s", undelivered.name, *undelivered.err)
	case rec.Error == nil && missing != nil:
		rec.Error = missing
	case rec.Error == nil && everyOutputFailed(rec):
		rec.Error = Errorf(CodeStream, "no output worked: every stream failed and there is no file")
	}
	switch {
	case rec.StartedAt == 0 && rec.Error != nil && rec.Error.Code == CodeAborted:
		rec.Status = StatusAborted
	case rec.Error != nil:
		rec.Status = StatusFailed
	case rec.EndReason == EndMaxDuration, rec.EndReason == EndMaxSize, rec.EndReason == EndDiskFull:
		rec.Status = StatusLimitReached
	default:
		rec.Status = StatusComplete
	}
	return rec
}

func firstUndelivered(rec Recording) *result {
	if rec.StartedAt == 0 {
		return nil // the error says why there is nothing
	}
	for _, r := range rec.results() {
		if *r.state != FileDelivered {
			return &r
		}
	}
	return nil
}

// firstMissing says what of earlier parts did not arrive. What is empty is missed by nobody: it
// was over before there was anything. Nor are segments that a later part sees to, or the last pictures
// of a lost worker.
func firstMissing(rec Recording) *Error {
	for _, p := range rec.Earlier {
		p.Segments = slices.DeleteFunc(slices.Clone(p.Segments), func(s SegmentsResult) bool { return s.Continued })
		if p.EndReason == EndWorkerLost {
			p.Images = nil
		}
		for _, r := range p.results() {
			switch {
			case *r.state == FileDelivered, *r.state == FileEmpty:
			case p.EndReason == EndWorkerLost:
				return Errorf(CodeWorkerLost, "%s, which a lost worker recorded, was not delivered: %s", r.name, *r.err)
			default:
				return Errorf(CodeUpload, "%s was not delivered: %s", r.name, *r.err)
			}
		}
	}
	return nil
}

// AmendedFrom gives a recording that had ended as before, with what follows from what arrived since: how
// much was lost with a worker, and an error which says so when nothing is missing any more. The status
// stays: clients were told of it.
func (r Recording) AmendedFrom(before Recording) Recording {
	r = r.Clone()
	for i := range r.Incidents {
		if loss := &r.Incidents[i]; loss.Reason == EndWorkerLost && loss.Lost != 0 {
			loss.Lost = cmp.Or(r.lossAt(loss.At), loss.Lost)
		}
	}
	complete := func(r Recording) bool { return firstUndelivered(r) == nil && firstMissing(r) == nil }
	if r.Error != nil && !complete(before) && complete(r) {
		said := *r.Error
		said.Message += "; what was recorded has arrived since"
		r.Error = &said
	}
	return r
}

// lossAt gives the length of the gap that somebody noticed then; 0 where it is not known.
func (r Recording) lossAt(at int64) int64 {
	for i, p := range r.Earlier {
		next := r.StartedAt
		if i+1 < len(r.Earlier) {
			next = r.Earlier[i+1].StartedAt
		}
		if p.EndReason == EndWorkerLost && p.StartedAt <= at && at <= next {
			return gap{part: p.Part}.length(r)
		}
	}
	return 0
}

func everyOutputFailed(rec Recording) bool {
	if len(rec.Streams) == 0 || len(rec.results()) > 0 {
		return false
	}
	for _, s := range rec.Streams {
		if s.State != StreamFailed && s.StartedAt != 0 {
			return false
		}
	}
	return true
}

// Settled reports whether every file and series of the current part is where it ends up:
// delivered, empty or refused for good.
func (r Recording) Settled() bool { return settled(r.results()) }

func settled(results []result) bool {
	for _, result := range results {
		switch *result.state {
		case FileDelivered, FileEmpty, FileRefused:
		default:
			return false
		}
	}
	return true
}

// Salvage accounts for what a recording that was cut off left in dir: the files
// play up to the cut, and their delivery goes on as usual.
func Salvage(rec Recording, dir string, cause *Error, reason EndReason, endedAt int64) Recording {
	rec = rec.Clone()
	rec.Status = StatusEnding
	rec.Fail(cause, cause.Code, reason)
	if rec.EndedAt == 0 {
		rec.EndedAt = endedAt
	}
	for i := range rec.Files {
		f := &rec.Files[i]
		if f.State == FileDelivered || f.State == FileRefused {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, MediaName(i, *f)))
		if err != nil || info.Size() == 0 {
			f.State, f.Error = FileEmpty, nothingRecorded
			continue
		}
		f.State, f.Size, f.Partial = FilePending, info.Size(), true
	}
	rec.salvageSeries(dir)
	rec.failStreams(cause, endedAt)
	return rec
}

// ConcludeLost ends a recording that nobody goes on with, seen by one who has
// not its media: what was recorded waits in the spool of the worker that did it.
func ConcludeLost(rec Recording, cause *Error, reason EndReason, at int64) Recording {
	rec = rec.Clone()
	rec.Fail(cause, cause.Code, reason)
	if rec.EndedAt == 0 {
		rec.EndedAt = at
	}
	leave := func(results []result, began bool) {
		for _, r := range results {
			switch {
			case *r.state == FileDelivered, *r.state == FileRefused, *r.state == FileEmpty:
			case !began:
				*r.state, *r.err = FileEmpty, nothingRecorded
			default:
				*r.state = FilePending
				*r.err = cmp.Or(*r.err, cause.Message)
			}
		}
	}
	leave(rec.results(), rec.StartedAt != 0)
	for i := range rec.Earlier {
		leave(rec.Earlier[i].results(), true)
	}
	rec.failStreams(cause, rec.EndedAt)
	return Conclude(rec)
}

// ConcludeRescued ends a recording that had ended when its worker was lost: as it
// would have, where everything is there.
func ConcludeRescued(rec Recording, cause *Error, at int64) Recording {
	parts := append(cloneParts(rec.Earlier), rec.part())
	if rec.StartedAt == 0 {
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		if rec.EndReason == "" || p.Part == max(rec.Part, 1) && p.cut() || p.missing() {
			return ConcludeLost(rec, cause, EndWorkerLost, at)
		}
	}
	rec = rec.Clone()
	rec.EndedAt = cmp.Or(rec.EndedAt, at)
	for i := range rec.Streams {
		if s := &rec.Streams[i]; s.State == StreamActive || s.State == StreamRetrying {
			s.State, s.EndedAt = StreamFinished, rec.EndedAt
		}
	}
	return Conclude(rec)
}

func (r *Recording) failStreams(cause *Error, at int64) {
	for i := range r.Streams {
		s := &r.Streams[i]
		if s.State == StreamFinished || s.State == StreamFailed {
			continue
		}
		s.State, s.EndedAt = StreamFailed, at
		if s.Error == "" {
			s.Error = cause.Message
		}
	}
}
