package recorder

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// lookAtDisk is how often the room on the spool's disk is looked at.
const lookAtDisk = time.Second

// disk is what a worker knows of the room on its spool's disk.
type disk struct {
	mu   sync.Mutex
	full string        // why no new job is taken; "" when one is
	free chan struct{} // closed when there is room
	dark bool          // the room is not known

	// For want of room, guarded by Worker.mu: what was ended and is not delivered yet, and
	// the room there was when the last of it was.
	ended int
	at    int64
}

// fails notes whether the room is known, and reports whether that it is not is news.
func (d *disk) fails(err error) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	news = err != nil && !d.dark
	d.dark = err != nil
	return news
}

// set notes whether there is room for new jobs, and reports whether that is news.
func (d *disk) set(full string) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	news = (d.full == "") != (full == "")
	switch {
	case news && full != "":
		d.free = make(chan struct{})
	case news:
		close(d.free)
	}
	d.full = full
	return news
}

// why says why no new job is taken; "" when one is.
func (d *disk) why() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

// await waits until there is room for a new job, or ctx is done.
func (d *disk) await(ctx context.Context) {
	d.mu.Lock()
	full, free := d.full, d.free
	d.mu.Unlock()
	if full == "" {
		return
	}
	select {
	case <-free:
	case <-ctx.Done():
	}
}

// watchDisk keeps new jobs away from a disk that is nearly full, and ends recordings before it
// is full altogether, so that their files are whole. stop ends the watch.
func (w *Worker) watchDisk(ctx context.Context) (stop func()) {
	gauge, ok := w.Spool.(Gauge)
	if !ok || w.MinFree <= 0 && w.Reserve <= 0 {
		return func() {}
	}
	w.lookAtDisk(gauge) // before the first claim
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for pause(ctx, lookAtDisk); ctx.Err() == nil; pause(ctx, lookAtDisk) {
			w.lookAtDisk(gauge)
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

func (w *Worker) lookAtDisk(gauge Gauge) {
	room, err := gauge.Room()
	if w.disk.fails(err) {
		w.Log.Error("the room in the spool is not known: no job is refused or ended for want of it", zap.Error(err))
	}
	if err == nil {
		w.mindRoom(room)
	}
}

// mindRoom acts on the room there is. Below the reserve one recording is ended at a time, the largest
// first: what it still writes, and what its delivery frees, is waited for, while there is room to wait.
func (w *Worker) mindRoom(room int64) {
	full := ""
	if least := max(w.MinFree, w.Reserve); room < least {
		full = fmt.Sprintf("the spool has room for %d MiB, and %d MiB must be free for a new job (spool_min_free)", room>>20, least>>20)
	}
	if w.disk.set(full) {
		if full != "" {
			w.Log.Error("this worker takes no job for now", zap.String("why", full))
			w.slots.callOff()
		} else {
			w.Log.Info("there is room in the spool again")
		}
	}
	if w.Reserve <= 0 || room >= w.Reserve {
		return
	}
	if s := w.largest(room); s != nil {
		w.Log.Error("the spool's disk is nearly full: ending the largest recording",
			zap.String("job", s.job), zap.Int64("bytes", s.bytes.Load()), zap.Int64("room", room))
		s.stop(Stop{Reason: EndDiskFull})
	}
}

// largest gives the recording to be ended for want of room, and notes that it is; nil for
// none, or while another one is ending for it. A delivery is waited for until half the room is gone:
// its storage may be away.
func (w *Worker) largest(room int64) *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.disk.ended > 0 && room > w.disk.at/2 {
		return nil
	}
	var most *slot
	for s := range w.running {
		switch {
		case s.full:
			return nil
		case s.bytes.Load() > 0 && (most == nil || s.bytes.Load() > most.bytes.Load()):
			most = s
		}
	}
	if most != nil {
		most.full = true
		w.disk.ended++
		w.disk.at = room
	}
	return most
}

// roomSettled notes that what a recording that was ended for want of room frees is freed, or will not be.
func (w *Worker) roomSettled(s *slot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.full {
		w.disk.ended--
	}
}
