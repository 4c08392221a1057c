package queue

import (
	"context"
	"encoding/json"

	"tapedeck/recorder"
)

func notFound(id string) error {
	return recorder.Errorf(recorder.CodeNotFound, "job %s: nobody knows it", id)
}

// Adopt takes the job of a recording that this worker's spool holds. Status and
// attempt stay as they are: it goes on, it is not tried again.
func (q *Queue) Adopt(ctx context.Context, id string) (recorder.Lease, error) {
	s, err := q.load(ctx, id)
	if err != nil {
		return nil, unavailable("adopting job "+id, err)
	}
	if !s.exists {
		return nil, notFound(id)
	}
	if s.status.Ended() {
		return nil, recorder.Errorf(recorder.CodeConflict, "job %s ended: it is %s", id, s.status)
	}
	e := entry{id: s.entry}
	m, ok, err := q.find(ctx, s.entry)
	if err != nil {
		return nil, unavailable("adopting job "+id, err)
	}
	if ok {
		// An entry that was taken once is valid.
		e, err = decode(m)
	} else {
		// The entry was deleted by hand. Without its secrets there is still a job to end.
		err = json.Unmarshal([]byte(s.job), &e.job)
	}
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInternal, "job %s: %s", id, scrubReason(err.Error()))
	}
	e.job.ID = id
	l, err := q.take(ctx, e, true)
	if err != nil {
		if recorder.CodeOf(err) == recorder.CodeInternal {
			err = unavailable("adopting job "+id, err)
		}
		return nil, err
	}
	return l, nil
}
