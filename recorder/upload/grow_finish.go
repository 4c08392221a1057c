package upload

import (
	"context"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// pass is one reading of the whole file, beside the end of its upload.
type pass struct {
	done   chan struct{}
	digest digest
	err    error
}

// open reports whether the upload that began while the file grew can be completed.
func (g *growth) open() bool {
	return g != nil && g.store != nil && g.j.UploadID != "" && g.j.Grown != nil
}

// finish sends what is left of a file that is finalised, and completes its upload:
// how long it takes until the object is there does not depend on the file's length. It
// counts as delivered when all of the file is read, which began with the sending: should a part
// have changed after it was sent, which none does but those that are sent again,
// the object is replaced.
func (g *growth) finish(ctx context.Context, o *object) (placed, error) {
	f, err := os.Open(g.media)
	if err != nil {
		return placed{}, diskFault(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return placed{}, diskFault(err)
	}
	g.look() // for what the notes tell of the rest
	reading := g.measure()
	defer g.leaveShort()()
	key, id := g.j.Name, g.j.UploadID
	if err := g.sendRest(ctx, f, info.Size()); err != nil {
		return placed{}, err
	}
	o.digest = digest{Size: info.Size(), PartSize: g.size, Parts: g.sums(info.Size())}
	got, err := g.store.complete(ctx, key, id, o, o.overwrite)
	if err != nil {
		return placed{}, err
	}
	select {
	case <-reading.done:
	case <-ctx.Done(): // whoever has the entry next finds the object
		return placed{}, context.Cause(ctx)
	}
	if reading.err != nil {
		g.pass = nil
		return placed{}, diskFault(reading.err)
	}
	sent := o.digest.Parts
	o.digest = reading.digest
	g.j.update(func(p *progress) { p.Digest = reading.digest })
	if !slices.EqualFunc(sent, o.digest.Parts, strings.EqualFold) {
		g.j.update(func(p *progress) { p.Ours = true })
		return placed{}, faultf(corrupt, "%s: the file changed after a part of it was sent; the object is replaced", g.store.location(key))
	}
	if err := g.store.verify(ctx, key, o, got); err != nil {
		if classOf(err) == corrupt {
			g.j.update(func(p *progress) { p.Ours = true })
		}
		return placed{}, err
	}
	return placed{Location: g.store.location(key), Name: key}, nil
}

// measure begins to read the file, once however often its end is tried.
func (g *growth) measure() *pass {
	if g.pass == nil {
		p := &pass{done: make(chan struct{})}
		g.pass = p
		go func() {
			defer close(p.done)
			p.digest, p.err = measure(g.life, g.media, plan{partSize: g.size})
		}()
	}
	return g.pass
}

// sums gives the MD5s of the parts as they were sent.
func (g *growth) sums(size int64) []string {
	sums := make([]string, partCount(g.size, size))
	g.j.look(func(p progress) {
		for n := range sums {
			sums[n] = p.sumOf(n + 1)
		}
	})
	return sums
}

// sendRest sends the parts that nobody sent, several at once, then those that the
// end of the recording changed, and the header's part last: a worker that completes
// the upload in our place can tell by it that all others are there.
func (g *growth) sendRest(ctx context.Context, f *os.File, size int64) error {
	changed := g.changed(size)
	sending, sctx := errgroup.WithContext(ctx)
	sending.SetLimit(partsAtOnce)
	for n := 1; n <= partCount(g.size, size); n++ {
		if slices.Contains(changed, n) || g.busy[n] != nil || g.isSent(n) {
			continue
		}
		sending.Go(func() error { return g.resend(sctx, f, size, n) })
	}
	if err := sending.Wait(); err != nil {
		return err
	}
	if err := g.settle(ctx); err != nil {
		return err
	}
	for n := 1; n <= partCount(g.size, size); n++ { // what was under way, and failed
		if !slices.Contains(changed, n) && !g.isSent(n) {
			if err := g.resend(ctx, f, size, n); err != nil {
				return err
			}
		}
	}
	for _, n := range changed {
		p, err := g.read(f, size, n)
		if err != nil {
			return err
		}
		if n == 1 {
			g.announce(p, size)
		}
		if err := g.replace(ctx, f, p); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for what is under way from the time when the file grew.
func (g *growth) settle(ctx context.Context) error {
	for n, ended := range g.busy {
		select {
		case <-ended:
			delete(g.busy, n)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// changed gives the parts that finalising a file changes, that of the header last.
func (g *growth) changed(size int64) []int {
	if h, ok := g.scan.(*hybrid); ok && h.moov+8 < size {
		if n := partCount(g.size, h.moov+8); n > 1 {
			return []int{n, 1}
		}
	}
	return []int{1}
}

func (g *growth) isSent(n int) (is bool) {
	g.j.look(func(p progress) { is = p.Parts[n] != "" })
	return is
}

// read gives a part as it is now.
func (g *growth) read(f *os.File, size int64, n int) (p piece, err error) {
	p = pieceOf(g.size, size, n)
	p.sum, err = sumOf(f, p)
	return p, diskFault(err)
}

// resend sends a part as it is now, unless it was sent like that.
func (g *growth) resend(ctx context.Context, f *os.File, size int64, n int) error {
	p, err := g.read(f, size, n)
	if err != nil {
		return err
	}
	return g.replace(ctx, f, p)
}

// replace sends a part, unless it was sent like that.
func (g *growth) replace(ctx context.Context, f *os.File, p piece) error {
	there, key, id := false, "", ""
	g.j.look(func(pr progress) {
		there, key, id = pr.Parts[p.n] != "" && pr.has(p.n, pr.Parts[p.n], p.sum), pr.Name, pr.UploadID
	})
	if there {
		return nil
	}
	etag, err := g.store.sendPiece(ctx, key, id, f, p)
	if err != nil {
		if codeOf(err) == noSuchUpload {
			g.j.update((*progress).fence)
		}
		return err
	}
	g.j.update(func(pr *progress) { pr.sent(p.n, etag, p.sum) })
	g.notes.part(id, p, etag, g.scan.mediaBelow(p.at+p.size))
	return nil
}

// announce notes what the object will be, before the last part is sent: the header's.
func (g *growth) announce(head piece, size int64) {
	sums := g.sums(size)
	sums[0] = head.sum
	g.note.Final = &finalNote{Parts: len(sums), Size: size, ETag: compositeETag(sums), Head: head.sum}
	g.notes.begun(g.note)
}
