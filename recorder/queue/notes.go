package queue

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// What a lease keeps of its notes. A recording of a day has 10,000 of 200 bytes.
const (
	longestNote = 8 << 10  // name and text
	notesKept   = 16 << 20 // of all names and texts, with what it takes to keep them
	noteCost    = 160      // bytes that one takes beside its name and text
	noteBatch   = 500      // how many go to Redis in one step, or come from it
)

// notebook is what a lease noted: the newest of each name. It is kept to the lease's end, for
// Redis may lose its memory.
type notebook struct {
	wake    chan struct{} // there is something to send
	sending sync.Mutex    // held by whoever sends

	mu      sync.Mutex
	closed  bool
	full    bool // what did not fit was logged
	notes   map[string]*note
	waiting map[string]*note // those of notes that Redis does not have
	bytes   int
	last    int64 // version of the newest note
	batch   int64 // number of the last batch that was sent
	stored  int64 // number of the last batch that Redis has, -1 when it is to get all
}

type note struct {
	name, text string // without a text it is removed
	version    int64
}

func (n *note) size() int { return len(n.name) + len(n.text) + noteCost }

func newNotebook() *notebook {
	return &notebook{wake: make(chan struct{}, 1), notes: map[string]*note{}, waiting: map[string]*note{}, stored: -1}
}

// put keeps a note; false when it does not fit.
func (b *notebook) put(name, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return true
	}
	n, old := &note{name: name, text: text}, 0
	if o := b.notes[name]; o != nil {
		old = o.size()
	}
	if len(name)+len(text) > longestNote || !b.fits(n.size()-old) {
		return false
	}
	b.last++
	n.version = b.last
	b.bytes += n.size() - old
	b.notes[name], b.waiting[name] = n, n
	b.ring()
	return true
}

// fits makes room, where removed names take it.
func (b *notebook) fits(more int) bool {
	if b.bytes+more <= notesKept {
		return true
	}
	for name, n := range b.notes {
		if n.text == "" && b.waiting[name] == nil {
			delete(b.notes, name)
			b.bytes -= n.size()
		}
	}
	return b.bytes+more <= notesKept
}

func (b *notebook) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next gives the batch to send, oldest first, its number and that of the one that Redis
// must have. It is empty when there is nothing to send.
func (b *notebook) next() (batch []*note, number, before int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.waiting {
		batch = append(batch, n)
	}
	slices.SortFunc(batch, func(x, y *note) int { return cmp.Compare(x.version, y.version) })
	batch = batch[:min(len(batch), noteBatch)]
	if len(batch) > 0 {
		b.batch++
	}
	return batch, b.batch, b.stored
}

// sent notes that Redis has a batch.
func (b *notebook) sent(batch []*note, number int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range batch {
		if b.waiting[n.name] == n {
			delete(b.waiting, n.name)
		}
	}
	b.stored = number
}

// again makes everything go to Redis once more.
func (b *notebook) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	for name, n := range b.notes {
		b.waiting[name] = n
	}
	b.stored = -1
	b.ring()
}

// storedBatch is the number of the batch that Redis must have, 0 for none.
func (b *notebook) storedBatch() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.stored, 0)
}

// refuse reports whether a note that did not fit is to be logged.
func (b *notebook) refuse() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := !b.full
	b.full = true
	return first
}

func (b *notebook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.notes, b.waiting = true, nil, nil
}

// Note keeps a text under a name. It waits for nothing.
func (l *lease) Note(name, text string) {
	if !l.notes.put(name, text) && l.notes.refuse() {
		l.log.Error("a note of the recording was not kept: it is too long, or there are too many",
			zap.Int("bytes", len(name)+len(text)))
	}
}

// Notes gives what Redis has of the job's notes, whoever made them.
func (l *lease) Notes(ctx context.Context) (map[string]string, error) {
	return l.q.Notes(ctx, l.before.ID)
}

// scans is how often notes are read of which some were missed.
const scans = 3

// Notes gives the notes of a job, for as long as its state is kept. Those of days are megabytes: they come in
// pages, and Redis has its time for each.
func (q *Queue) Notes(ctx context.Context, id string) (notes map[string]string, err error) {
	for range scans {
		var most int64
		if err = q.exchange(ctx, func(ctx context.Context) (err error) {
			most, err = q.rdb.HLen(ctx, q.keys.notes(id)).Result()
			return err
		}); err == nil {
			notes, err = q.scanNotes(ctx, id)
		}
		if err != nil {
			return nil, unavailable("reading the notes of job "+id, err)
		}
		if int64(len(notes)) >= most { // or a replica took over, to which the cursor meant something else
			break
		}
	}
	return notes, nil
}

func (q *Queue) scanNotes(ctx context.Context, id string) (map[string]string, error) {
	notes := map[string]string{}
	for cursor := uint64(0); ; {
		var page []string
		err := q.exchange(ctx, func(ctx context.Context) (err error) {
			page, cursor, err = q.rdb.HScan(ctx, q.keys.notes(id), cursor, "", noteBatch).Result()
			return err
		})
		if err != nil {
			return nil, err
		}
		for pair := range slices.Chunk(page, 2) {
			notes[pair[0]] = pair[1]
		}
		if cursor == 0 {
			return notes, nil
		}
	}
}

// exchange does one exchange with Redis.
func (q *Queue) exchange(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	err := do(ctx)
	q.health.note(err)
	return err
}

// deliverNotes sends what is noted until the lease ends.
func (l *lease) deliverNotes() {
	retry := backoff{first: 50 * time.Millisecond, last: l.q.opTimeout()}
	for {
		select {
		case <-l.life.Done():
			return
		case <-l.notes.wake:
		}
		for l.flushNotes(l.life) != nil {
			if !pause(l.life, retry.next()) {
				return
			}
		}
		retry.reset()
	}
}

// flushNotes sends what is noted and not stored.
func (l *lease) flushNotes(ctx context.Context) error {
	b := l.notes
	b.sending.Lock()
	defer b.sending.Unlock()
	for {
		batch, number, before := b.next()
		if len(batch) == 0 {
			return nil
		}
		word, err := l.sendNotes(ctx, batch, number, before)
		if err == nil && word == "forgotten" {
			err = l.restore(ctx)
		}
		switch {
		case err != nil:
			return err
		case word == "ok":
			b.sent(batch, number)
		case word == "behind":
			b.again()
		case word == "lost":
			if !l.isEnding() { // or what ends it says so
				l.lose()
			}
			return nil
		}
	}
}

func (l *lease) sendNotes(ctx context.Context, batch []*note, number, before int64) (string, error) {
	id := l.before.ID
	args := []any{l.q.owner, l.fence, number, before}
	for _, n := range batch {
		args = append(args, n.name, n.text)
	}
	answer, err := l.q.run(ctx, l.q.scripts.note, []string{l.q.keys.job(id), l.q.keys.notes(id)}, args...)
	if err != nil {
		return "", err
	}
	return fenced(answer), nil
}

var _ recorder.Journal = (*lease)(nil)
