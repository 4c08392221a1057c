package egress

import (
	"context"
	"errors"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"tapedeck/recorder"
)

// ReporterName is the Receiver that a Reporter's Outbox is to be opened for.
const ReporterName = "livekit"

// Reporter tells livekit-server what becomes of the jobs that came through it: its
// ListEgress and its webhooks show what is told here, and nothing else does.
//
// Jobs of other doors are left out: the server would send webhooks for what nobody
// asked of it.
//
// What is told is in the Outbox until the server has it, for GiveUpAfter: a server
// that was away is told everything in its order. Whichever process of the pool
// lives does the telling, a dead worker's jobs included. With none left nobody does:
// the server shows the last it heard until one is back.
type Reporter struct {
	Outbox recorder.Outbox
	// Messages is the bus: psrpc.NewRedisMessageBus with a client of livekit-server's Redis.
	Messages psrpc.MessageBus
	// GiveUpAfter is how long one event is tried, from its first try on. Default 24 h:
	// the server itself forgets an egress a day after its end.
	GiveUpAfter time.Duration
	// Linger is Courier's.
	Linger time.Duration
	// Now is the clock that GiveUpAfter is measured by.
	Now func() time.Time
	Log *zap.Logger

	io rpc.IOInfoClient
}

// The times of a report.
const (
	reportsGiveUp = 24 * time.Hour
	reportTimeout = 3 * time.Second // one question to the server
	firstReport   = 250 * time.Millisecond
	firstPause    = time.Second
	longestPause  = 10 * time.Second
	reportsAtOnce = 8
)

func newReports(messages psrpc.MessageBus) (rpc.IOInfoClient, error) {
	return rpc.NewIOInfoClient(messages, psrpc.WithClientTimeout(reportTimeout))
}

// Run tells until ctx is done, and returns when nothing is under way. CodeUnavailable
// when the message bus cannot be used.
func (r *Reporter) Run(ctx context.Context) error {
	var err error
	if r.io, err = newReports(r.Messages); err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "no reports on the message bus: %w", err)
	}
	defer r.io.Close()
	recorder.Courier{
		Outbox: r.Outbox, AtOnce: reportsAtOnce, Linger: r.Linger, Deliver: r.deliver,
		Away: func(err error) {
			r.Log.Warn("livekit: the outbox does not answer, trying again", zap.Error(err))
		},
	}.Run(ctx)
	return nil
}

// deliver makes one try, and tells the Outbox what came of it.
func (r *Reporter) deliver(ctx context.Context, d recorder.Delivery) {
	e := d.Event()
	log := r.Log.With(zap.String("job", e.Recording.ID), zap.String("event", string(e.Type)), zap.Int("try", d.Tries()))
	later, err := time.Duration(0), error(nil)
	if FromServer(e.Recording.Origin) {
		later, err = r.tell(ctx, d)
	}
	if err != nil {
		later = pauseAfter(d.Tries())
		if r.Now().Sub(d.Since()) >= r.giveUpAfter() {
			log.Error("livekit-server was not told: given up", zap.Error(err))
			later = 0
		} else {
			log.Warn("livekit-server was not told, trying again later", zap.Duration("next_try", later), zap.Error(err))
		}
	}
	if later > 0 {
		err = d.Later(ctx, later)
	} else {
		err = d.Done(ctx)
	}
	if err != nil {
		log.Warn("the outbox does not take what came of a report: it is repeated", zap.Error(err))
	}
}

func (r *Reporter) giveUpAfter() time.Duration {
	if r.GiveUpAfter > 0 {
		return r.GiveUpAfter
	}
	return reportsGiveUp
}

func pauseAfter(tries int) time.Duration {
	if tries > 4 {
		return longestPause
	}
	return min(firstPause<<max(tries-1, 0), longestPause)
}

// tell brings the server up to date. It is asked first what it knows, so that
// nothing is told twice, whoever told it: every update is a webhook.
func (r *Reporter) tell(ctx context.Context, d recorder.Delivery) (later time.Duration, err error) {
	e, info := d.Event(), Info(d.Event().Recording)
	if e.Type == recorder.EventQueued && d.Tries() == 1 {
		return firstReport, nil // whoever took the request is just announcing it
	}
	known, err := r.io.GetEgress(ctx, &rpc.GetEgressRequest{EgressId: info.EgressId})
	switch {
	case unknown(err) && e.Type == recorder.EventAmended:
		return 0, nil // forgotten since its end: a new entry would be a new egress_started
	case unknown(err) && r.Now().Sub(d.Since()) < announceTimeout:
		return firstReport, nil // two that make the entry at once make two egress_started
	case unknown(err):
		if _, err = r.io.CreateEgress(ctx, info); err != nil || info.Status == livekit.EgressStatus_EGRESS_STARTING {
			return 0, err
		}
	case err != nil:
		return 0, err
	case over(known) && e.Type != recorder.EventAmended, sameNews(known, info):
		return 0, nil
	}
	_, err = r.io.UpdateEgress(ctx, info)
	return 0, err
}

func unknown(err error) bool {
	var said psrpc.Error
	return errors.As(err, &said) && said.Code() == psrpc.NotFound
}

func over(info *livekit.EgressInfo) bool {
	return info.GetStatus() >= livekit.EgressStatus_EGRESS_COMPLETE
}

// sameNews compares but for figures that grow while recording.
func sameNews(a, b *livekit.EgressInfo) bool { return proto.Equal(news(a), news(b)) }

func news(info *livekit.EgressInfo) *livekit.EgressInfo {
	c := proto.CloneOf(info)
	c.UpdatedAt = 0
	if over(c) {
		return c
	}
	c.Result = nil // once more what the lists have
	for _, f := range c.FileResults {
		f.Duration, f.Size, f.EndedAt = 0, 0, 0
	}
	for _, s := range c.StreamResults {
		s.Duration = 0
	}
	for _, s := range c.SegmentResults {
		s.Duration, s.Size, s.SegmentCount, s.EndedAt = 0, 0, 0, 0
	}
	for _, s := range c.ImageResults {
		s.ImageCount, s.EndedAt = 0, 0
	}
	return c
}
