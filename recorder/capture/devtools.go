package capture

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// devtools speaks Chrome's DevTools protocol over the two pipes of
// --remote-debugging-pipe. There is no port, so nobody else on the machine, a
// recorded page included, can talk to this browser.
//
// It uses chromedp's transport and protocol types but not its Context: that one
// enables DOM and CSS events on every page, which a busy page pays for, and
// hides the sessions of cross-site frames.
type devtools struct {
	conn   *chromedp.PipeConn
	out    *os.File
	lastID atomic.Int64
	// handle gets every event, one after the other, from the reading goroutine: it
	// must not wait for an answer.
	handle func(*cdproto.Message)
	lost   chan struct{} // closed when the browser closed the pipe

	mu      sync.Mutex
	pending map[int64]chan *cdproto.Message
}

// errPipeClosed is the answer to a call that Chrome can no longer give.
var errPipeClosed = errors.New("the connection to Chrome is closed")

// newDevtools reads from in and writes to out, which it closes in the end.
func newDevtools(in, out *os.File, handle func(*cdproto.Message)) *devtools {
	return &devtools{
		conn: chromedp.NewPipeConn(in, out), out: out, handle: handle,
		lost: make(chan struct{}), pending: map[int64]chan *cdproto.Message{},
	}
}

// read hands answers to their callers and events to handle until the pipe is closed.
func (d *devtools) read(ctx context.Context) {
	defer close(d.lost)
	for {
		msg := new(cdproto.Message)
		err := d.conn.Read(ctx, msg)
		var syntax *jsonv2.SyntacticError
		if errors.As(err, &syntax) {
			continue
		}
		if err != nil {
			return
		}
		if msg.ID == 0 {
			d.handle(msg)
			continue
		}
		d.mu.Lock()
		answer := d.pending[msg.ID]
		delete(d.pending, msg.ID)
		d.mu.Unlock()
		if answer != nil {
			answer <- msg
		}
	}
}

// close ends the connection; Chrome then ends itself.
func (d *devtools) close() error { return d.conn.Close() }

// How long a message may take to get into the pipe: Chrome empties it from a
// thread of its own, so longer means that it hangs.
const writeLimit = 5 * time.Second

func (d *devtools) write(ctx context.Context, id int64, session target.SessionID, method string, params any) error {
	msg := &cdproto.Message{ID: id, SessionID: session, Method: cdproto.MethodType(method)}
	if params != nil {
		raw, err := jsonv2.Marshal(params, chromedp.DefaultMarshalOptions)
		if err != nil {
			return err
		}
		msg.Params = raw
	}
	_ = d.out.SetWriteDeadline(time.Now().Add(writeLimit))
	return d.conn.Write(ctx, msg)
}

// send runs a command without waiting for the answer.
func send[P, R any](ctx context.Context, d *devtools, session target.SessionID, c cdp.Command[P, R], params P) error {
	return d.write(ctx, d.lastID.Add(1), session, c.Method, params)
}

// call runs a command. An empty session is the browser itself.
func call[P, R any](ctx context.Context, d *devtools, session target.SessionID, c cdp.Command[P, R], params P) (R, error) {
	var result R
	id, answer := d.lastID.Add(1), make(chan *cdproto.Message, 1)
	d.mu.Lock()
	d.pending[id] = answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.pending, id)
		d.mu.Unlock()
	}()
	if err := d.write(ctx, id, session, c.Method, params); err != nil {
		return result, err
	}
	select {
	case msg := <-answer:
		if msg.Error != nil {
			return result, msg.Error
		}
		return result, jsonv2.Unmarshal(msg.Result, &result, chromedp.DefaultUnmarshalOptions)
	case <-d.lost:
		return result, errPipeClosed
	case <-ctx.Done():
		return result, context.Cause(ctx)
	}
}

// decode reads the parameters of an event.
func decode[E any](msg *cdproto.Message, _ cdp.Event[E]) (E, bool) {
	var event E
	err := jsonv2.Unmarshal(msg.Params, &event, chromedp.DefaultUnmarshalOptions)
	return event, err == nil
}
