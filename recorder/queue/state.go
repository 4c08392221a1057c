package queue

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"tapedeck/recorder"
)

// state is a job's hash. Zero for a job that has none.
type state struct {
	exists  bool
	status  recorder.Status
	rec     recorder.Recording
	job     string // redacted JSON
	rev     string
	fence   string
	entry   string
	owner   string
	worker  string
	attempt int
	tries   int
	created string // ns, as stored
	expiry  time.Time
	lease   time.Duration      // its length
	stop    recorder.EndReason // of a client's stop that nobody was there to obey; the reaper's
}

func (q *Queue) load(ctx context.Context, id string) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	h, err := q.rdb.HGetAll(ctx, q.keys.job(id)).Result()
	q.health.note(err)
	if err != nil {
		return state{}, err
	}
	return parseState(id, h), nil
}

func parseState(id string, h map[string]string) state {
	if h["status"] == "" {
		return state{}
	}
	s := state{
		exists: true, status: recorder.Status(h["status"]), job: h["job"], rev: h["rev"], fence: h["fence"],
		entry: h["entry"], owner: h["owner"], worker: h["worker"], created: h["created_at"],
	}
	s.attempt, _ = strconv.Atoi(h["attempt"])
	s.tries, _ = strconv.Atoi(h["tries"])
	s.lease = time.Duration(integer(h["lease"])) * time.Millisecond
	s.expiry = time.UnixMilli(integer(h["lease_until"]))
	// A hash somebody tampered with still lists as far as its fields go.
	_ = json.Unmarshal([]byte(h["recording"]), &s.rec)
	s.rec.ID, s.rec.Status = id, s.status
	return s
}

// entry is one entry of the jobs stream, decoded.
type entry struct {
	id      string
	job     recorder.Job
	payload string // the job's JSON as it was added
}

// at is when the entry was added, by Redis's clock.
func (e entry) at() time.Time {
	ms, _, _ := strings.Cut(e.id, "-")
	n, _ := strconv.ParseInt(ms, 10, 64)
	return time.UnixMilli(n)
}

// decode reads an entry. The id is good even when the job is not.
func decode(m redis.XMessage) (entry, error) {
	e := entry{id: m.ID, job: recorder.Job{ID: idOf(m.ID)}}
	id, hasID := m.Values["id"].(string)
	payload, ok := m.Values["job"].(string)
	if hasID && recorder.ValidID(id) {
		e.job.ID = id
	}
	if !ok {
		return e, recorder.Errorf(recorder.CodeInvalid, `the entry has no field "job"`)
	}
	e.payload = payload
	if hasID && !recorder.ValidID(id) {
		return e, recorder.Errorf(recorder.CodeInvalid, "id: use 1 to 64 characters of A-Z a-z 0-9 _ -")
	}
	if len(payload) > recorder.LargestJob {
		return e, recorder.Errorf(recorder.CodeInvalid, "job: %d bytes, at most %d are taken", len(payload), recorder.LargestJob)
	}
	job, err := recorder.ParseJob([]byte(payload))
	if err != nil {
		return e, err
	}
	if job.ID != "" && hasID && job.ID != id {
		return e, recorder.Errorf(recorder.CodeInvalid, "id: the entry says %q, its job %q: leave one out", id, job.ID)
	}
	if job.ID == "" {
		job.ID = e.job.ID
	}
	e.job = job
	return e, nil
}

// find reads one entry of the jobs stream.
func (q *Queue) find(ctx context.Context, id string) (redis.XMessage, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	found, err := q.rdb.XRangeN(ctx, q.keys.jobs(), id, id, 1).Result()
	q.health.note(err)
	if err != nil || len(found) == 0 {
		return redis.XMessage{}, false, err
	}
	return found[0], true, nil
}

// createdMillis gives a stored created_at in ms, for the index.
func createdMillis(ns string) string {
	n, _ := strconv.ParseInt(ns, 10, 64)
	return decimal(millis(n))
}

// composeRecording is compose for a recording. Figures that JSON cannot express
// are no reason to lose the rest.
func composeRecording(rec recorder.Recording) string {
	if _, err := json.Marshal(rec.Stats); err != nil {
		rec.Stats = recorder.Stats{}
	}
	return compose(rec)
}

// compose writes what the hash and the events hold. A recording has no part
// that does not marshal.
func compose(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(text)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// millis gives a ns timestamp in ms, for scores.
func millis(ns int64) int64 { return ns / int64(time.Millisecond) }

func integer(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case string:
		i, _ := strconv.ParseInt(n, 10, 64)
		return i
	default:
		return 0
	}
}
