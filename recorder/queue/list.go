package queue

import (
	"cmp"
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"tapedeck/recorder"
)

// How a List reads: in pages, and never more of the stream than this.
const (
	defaultLimit = 100
	listPage     = 200
	rawPage      = 500
	rawMost      = 20000
)

// List gives the jobs that match, newest first. Jobs that were added to the
// stream by hand and that no worker looked at yet are among them.
func (q *Queue) List(ctx context.Context, f recorder.Filter) ([]recorder.Recording, error) {
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	var found []recorder.Recording
	var err error
	switch {
	case len(f.IDs) > 0:
		found, err = q.listIDs(ctx, f)
	case f.Active:
		// Whatever did not end has an entry in the stream.
		found, err = q.listStream(ctx, func(rec recorder.Recording, _ bool) bool { return matches(f, rec) })
	default:
		found, err = q.listAll(ctx, f)
	}
	if err != nil {
		return nil, unavailable("listing jobs", err)
	}
	newest(found)
	return found[:min(len(found), f.Limit)], nil
}

func matches(f recorder.Filter, rec recorder.Recording) bool {
	return (f.RoomName == "" || rec.RoomName == f.RoomName) &&
		(!f.Active || !rec.Status.Ended()) &&
		(f.Before <= 0 || rec.CreatedAt < f.Before) &&
		(len(f.IDs) == 0 || slices.Contains(f.IDs, rec.ID))
}

func (q *Queue) listIDs(ctx context.Context, f recorder.Filter) ([]recorder.Recording, error) {
	states, err := q.loadMany(ctx, f.IDs)
	if err != nil {
		return nil, err
	}
	var found []recorder.Recording
	for i, id := range f.IDs {
		if slices.Index(f.IDs, id) != i {
			continue
		}
		rec := states[i].rec
		if !states[i].exists {
			e, ok, err := q.findRaw(ctx, id)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			rec = recorder.NewRecording(e.job, e.at())
		}
		if matches(f, rec) {
			found = append(found, rec)
		}
	}
	return found, nil
}

func (q *Queue) listAll(ctx context.Context, f recorder.Filter) ([]recorder.Recording, error) {
	found, err := q.listStream(ctx, func(rec recorder.Recording, raw bool) bool { return raw && matches(f, rec) })
	if err != nil {
		return nil, err
	}
	by := redis.ZRangeBy{Min: "-inf", Max: "+inf", Count: listPage}
	if f.Before > 0 {
		by.Max = decimal(millis(f.Before))
	}
	seen := map[string]bool{} // a job that is added meanwhile moves the others
	for enough := false; !enough; by.Offset += listPage {
		page, err := q.rdb.ZRevRangeByScoreWithScores(ctx, q.keys.index(), &by).Result()
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(page))
		for i, z := range page {
			ids[i], _ = z.Member.(string)
		}
		states, err := q.loadMany(ctx, ids)
		if err != nil {
			return nil, err
		}
		for i, s := range states {
			if s.exists && matches(f, s.rec) && !seen[ids[i]] {
				seen[ids[i]] = true
				found = append(found, s.rec)
			}
		}
		enough = len(page) < listPage || complete(found, f.Limit, int64(page[len(page)-1].Score))
	}
	return found, nil
}

// complete reports whether the newest limit jobs are among those found, when the
// index was read down to last (ms). Of one ms it gives jobs in no order.
func complete(found []recorder.Recording, limit int, last int64) bool {
	newest(found)
	return len(found) >= limit && last < millis(found[limit-1].CreatedAt)
}

func newest(found []recorder.Recording) {
	slices.SortStableFunc(found, func(a, b recorder.Recording) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
}

// listStream gives the jobs of the stream's entries that keep wants; raw ones
// have no state yet.
func (q *Queue) listStream(ctx context.Context, keep func(rec recorder.Recording, raw bool) bool) ([]recorder.Recording, error) {
	var found []recorder.Recording
	seen := map[string]bool{}
	err := q.eachEntry(ctx, func(page []redis.XMessage) (bool, error) {
		entries := make([]entry, len(page))
		ids := make([]string, len(page))
		valid := make([]bool, len(page))
		for i, m := range page {
			e, err := decode(m)
			entries[i], ids[i], valid[i] = e, e.job.ID, err == nil
		}
		states, err := q.loadMany(ctx, ids)
		if err != nil {
			return false, err
		}
		for i, s := range states {
			rec := s.rec
			switch {
			case seen[ids[i]], !s.exists && !valid[i]: // the latter is dead-lettered soon
				continue
			case !s.exists:
				rec = recorder.NewRecording(entries[i].job, entries[i].at())
			}
			seen[ids[i]] = true
			if keep(rec, !s.exists) {
				found = append(found, rec)
			}
		}
		return true, nil
	})
	return found, err
}

// eachEntry goes through the jobs stream until more says stop.
func (q *Queue) eachEntry(ctx context.Context, more func([]redis.XMessage) (bool, error)) error {
	from := "-"
	for n := 0; n < rawMost; n += rawPage {
		page, err := q.rdb.XRangeN(ctx, q.keys.jobs(), from, "+", rawPage).Result()
		if err != nil || len(page) == 0 {
			return err
		}
		if ok, err := more(page); err != nil || !ok {
			return err
		}
		if len(page) < rawPage {
			return nil
		}
		from = after(page[len(page)-1].ID)
	}
	return nil
}

// loadMany reads many states in one round trip.
func (q *Queue) loadMany(ctx context.Context, ids []string) ([]state, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.SliceCmd, len(ids))
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			cmds[i] = p.HMGet(ctx, q.keys.job(id), "status", "recording")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	states := make([]state, len(ids))
	for i, c := range cmds {
		h := map[string]string{}
		for k, name := range []string{"status", "recording"} {
			h[name], _ = c.Val()[k].(string)
		}
		states[i] = parseState(ids[i], h)
	}
	return states, nil
}

// findRaw looks for a job that has no state yet. A derived id says where its
// entry is; any other is looked for.
func (q *Queue) findRaw(ctx context.Context, id string) (entry, bool, error) {
	if at := entryOf(id); at != "" {
		m, ok, err := q.find(ctx, at)
		if err != nil || !ok {
			return entry{}, false, err
		}
		e, err := decode(m)
		return e, err == nil && e.job.ID == id, nil
	}
	var found entry
	err := q.eachEntry(ctx, func(page []redis.XMessage) (bool, error) {
		for _, m := range page {
			if e, err := decode(m); err == nil && e.job.ID == id {
				found = e
				return false, nil
			}
		}
		return true, nil
	})
	return found, found.id != "", err
}
