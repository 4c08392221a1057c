package upload

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// growEvery is how often a growing file is looked at.
const growEvery = 250 * time.Millisecond

// growth sends a file while it is written. Its state belongs to the goroutine of
// Follow, then to that of Deliver. Parts are sent by others: what is under way when
// the recording stops goes on, for it would have to be sent again.
type growth struct {
	entry *entry
	i     int
	file  recorder.FileResult
	route route
	media string
	size  int64 // of the parts
	scan  scan  // nil for a file that leaves at the end
	j     *journal
	notes notes
	note  fileNote // of the upload
	log   *zap.Logger
	scrub recorder.Scrubber
	tell  func(func(*recorder.Recording))

	life  context.Context // of the senders
	end   context.CancelFunc
	from  *os.File // the media, nil before there are any
	store *s3Store // nil before an upload began
	next  int      // the first part that may not be sent yet
	busy  map[int]chan struct{}
	again map[int]bool // parts that failed
	done  chan sentPiece
	pass  *pass
	short short

	over     bool // nothing more is sent before the end
	failing  time.Time
	tries    map[class]int
	pause    *backoff.ExponentialBackOff
	resumeAt time.Time
	turning  string // why the storage is being given up
	told     string
}

// sentPiece is how the sending of one part ended.
type sentPiece struct {
	piece
	err error
}

// growth prepares the following of one file. Its senders outlive ctx, and end with
// the entry.
func (e *entry) growth(ctx context.Context, task recorder.Task, begun recorder.Recording, i int, to recorder.Journal) *growth {
	d := e.delivery(task, begun, i, nil)
	g := &growth{
		entry: e, i: i, file: d.file, route: d.route, media: d.media, log: d.log, scrub: d.scrub,
		size: growingPartSize(expectedSize(task.Job)), scan: scanOf(d.media), j: d.journal(),
		notes: notes{to: to, name: fmt.Sprintf("%d/file-%d", max(begun.Part, 1), i)},
		next:  1, busy: map[int]chan struct{}{}, again: map[int]bool{}, done: make(chan sentPiece, partsAtOnce),
		tries: map[class]int{}, pause: e.spool.opts.backoff(), short: newShort(),
	}
	g.life, g.end = context.WithCancel(context.WithoutCancel(ctx))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.growths == nil {
		e.growths = map[int]*growth{}
	}
	e.growths[i] = g
	return g
}

// close ends the senders. The upload stays, for whoever goes on with it.
func (g *growth) close() {
	g.end()
	for _, sending := range g.busy {
		<-sending
	}
	if g.from != nil {
		_ = g.from.Close()
	}
	g.from = nil
}

// abandon removes an upload of which nothing comes, once its senders are closed.
func (g *growth) abandon(ctx context.Context) {
	if g.store == nil || g.j.UploadID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), courtesy)
	defer cancel()
	g.store.discard(ctx, g.j.progress)
}

// follow sends what can go, until ctx is done.
func (g *growth) follow(ctx context.Context) {
	tick := time.NewTicker(growEvery)
	defer tick.Stop()
	for {
		g.advance(ctx)
		select {
		case <-ctx.Done():
			return
		case p := <-g.done:
			g.take(p)
		case <-tick.C:
		}
	}
}

// advance begins the upload, and starts what can go.
func (g *growth) advance(ctx context.Context) {
	g.look()
	if g.turning != "" && len(g.busy) == 0 {
		g.turn(ctx)
	}
	if g.over || g.turning != "" || ctx.Err() != nil || time.Now().Before(g.resumeAt) {
		return
	}
	if g.store == nil {
		if err := g.begin(ctx); err != nil {
			if ctx.Err() == nil {
				g.fail(err)
			}
			return
		}
		g.succeed()
	}
	if g.over { // the storage takes whole files only
		return
	}
	for n := range g.ready() {
		if len(g.busy) >= g.most() {
			return
		}
		g.send(g.life, g.full(n))
	}
	g.advanceShort() //nolint:contextcheck // what is sent outlives ctx
}

// most is how many parts may be under way: while the storage fails, one tries it.
func (g *growth) most() int {
	if !g.failing.IsZero() {
		return 1
	}
	return partsAtOnce
}

// look follows the file.
func (g *growth) look() {
	if g.scan == nil || g.over {
		return
	}
	if g.from == nil {
		f, err := os.Open(g.media)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			g.log.Warn("the growing file cannot be read; it leaves at the end", zap.Error(err))
			g.over = true
			return
		}
		g.from = f
	}
	info, err := g.from.Stat()
	if err == nil {
		err = g.scan.advance(g.from, info.Size())
	}
	if err != nil {
		g.log.Warn("the growing file cannot be read", zap.Error(err))
	}
}

// ready gives the parts that can go, the oldest first.
func (g *growth) ready() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		if g.scan == nil {
			return
		}
		for n := range g.again {
			if g.busy[n] == nil && !yield(n) {
				return
			}
		}
		for {
			p := g.full(g.next)
			if p.at+p.size > g.scan.fixed() {
				return
			}
			if g.busy[g.next] != nil { // its short form
				g.short.stop()
				return
			}
			if !yield(g.next) {
				return
			}
			g.next++
		}
	}
}

// full gives a part of a file that grows.
func (g *growth) full(n int) piece {
	at, size := partSpan(g.size, n)
	return piece{n: n, at: at, size: size}
}

// send starts the sending of a part.
func (g *growth) send(ctx context.Context, p piece) {
	st, key, id := g.store, g.j.Name, g.j.UploadID
	media := g.scan.mediaBelow(p.at + p.size)
	ended := make(chan struct{})
	g.busy[p.n] = ended
	g.short.since = time.Now()
	delete(g.again, p.n)
	go func() {
		defer close(ended)
		err := g.transfer(ctx, st, key, id, p, media)
		select {
		case g.done <- sentPiece{p, err}:
		default: // nobody takes them any more: the journal says which are there
		}
	}()
}

// transfer sends a part and notes it. The journal, by which this worker goes on, is of full
// parts only.
func (g *growth) transfer(ctx context.Context, st *s3Store, key, id string, p piece, media time.Duration) error {
	var err error
	if p.sum, err = sumOf(g.from, p); err != nil {
		return diskFault(err)
	}
	etag, err := st.sendPiece(ctx, key, id, g.from, p)
	if err != nil {
		return err
	}
	if !g.isShort(p) {
		g.j.update(func(pr *progress) {
			if pr.UploadID == id {
				pr.sent(p.n, etag, p.sum)
			}
		})
	}
	g.notes.part(id, p, etag, media)
	return nil
}

func sumOf(from io.ReaderAt, p piece) (string, error) {
	sum := md5.New()
	if _, err := io.Copy(sum, io.NewSectionReader(from, p.at, p.size)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// take notes how the sending of a part ended.
func (g *growth) take(p sentPiece) {
	delete(g.busy, p.n)
	switch {
	case p.err == nil:
		g.short.off = g.short.off && g.isShort(p.piece)
		g.succeed()
	case codeOf(p.err) == noSuchUpload:
		g.log.Warn("somebody else ended the upload; the file leaves at the end", zap.String("error", g.scrub.Text(p.err.Error())))
		g.over = true
		g.j.update((*progress).fence)
	case g.isShort(p.piece):
		g.failShort(p.err)
	default:
		g.again[p.n] = true
		g.fail(p.err)
	}
}

func (g *growth) succeed() {
	if !g.failing.IsZero() {
		g.log.Info("the upload goes on", zap.Duration("after", time.Since(g.failing).Round(time.Millisecond)))
	}
	g.failing, g.resumeAt, g.tries = time.Time{}, time.Time{}, map[class]int{}
	g.pause.Reset()
	g.report(g.j.Why)
}

// fail sets the upload back, or turns it to the backup.
func (g *growth) fail(err error) {
	c, text := classOf(err), g.scrub.Text(err.Error())
	if g.failing.IsZero() {
		g.failing = time.Now()
	}
	g.tries[c]++
	g.report(joinNotes(g.j.Why, text))
	opts := g.entry.spool.opts
	if !g.j.Backup && g.route.hasBackup() && g.scan != nil && turnsToBackup(c, g.tries[c], time.Since(g.failing), opts.BackupAfter) {
		g.turning = text
		return
	}
	wait := g.pause.NextBackOff()
	g.resumeAt = time.Now().Add(wait)
	g.log.Warn("the storage does not take the recording yet; it will be tried again", zap.String("error", text), zap.Duration("in", wait))
}

// turn leaves the own storage for the backup, and sends what there is anew.
func (g *growth) turn(ctx context.Context) {
	g.log.Warn("the storage is given up: the backup takes the file", zap.String("error", g.turning))
	if g.store != nil {
		bounded, cancel := context.WithTimeout(ctx, courtesy)
		defer cancel()
		g.store.discard(bounded, g.j.progress)
	}
	why := whyBackup(g.turning)
	g.j.update(func(p *progress) { *p = progress{Backup: true, Why: why} })
	g.turning, g.store, g.next, g.short = "", nil, 1, newShort()
	clear(g.again)
	g.failing, g.resumeAt, g.tries = time.Time{}, time.Time{}, map[class]int{}
	g.pause.Reset()
	g.report(why)
}

// report tells what keeps the file from its storage, "" for nothing.
func (g *growth) report(text string) {
	if text == g.told {
		return
	}
	g.told = text
	backup := g.j.Backup
	g.tell(func(rec *recorder.Recording) { rec.Files[g.i].Error, rec.Files[g.i].Backup = text, backup })
}
