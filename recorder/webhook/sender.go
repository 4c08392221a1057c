package webhook

import (
	"context"
	"net/http"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Sender delivers what an Outbox gives: each event of a job in its order, other
// jobs' meanwhile.
type Sender struct {
	Outbox recorder.Outbox
	// URLs are the receivers that every event goes to, by the name the Outbox knows
	// them by. A URL may hold a secret: logs show its host alone.
	URLs map[string]string
	// Key names the API key that signs, unless a job's Webhook names another. Keys has
	// the secrets.
	Key  string
	Keys auth.KeyProvider
	// Encode makes the body; false for an event that this receiver is not told. ID and
	// CreatedAt are filled in.
	Encode func(recorder.Event, recorder.Receiver) (*livekit.WebhookEvent, bool)
	// GiveUpAfter is how long one event is tried, from its first try on. Default 24 h.
	GiveUpAfter time.Duration
	// Linger is Courier's.
	Linger time.Duration
	// Now is the clock that GiveUpAfter is measured by.
	Now func() time.Time
	Log *zap.Logger
}

// The times of a delivery.
const (
	DefaultGiveUpAfter = 24 * time.Hour

	tryTimeout   = 10 * time.Second // from dialling to the answer's head
	firstPause   = time.Second
	longestPause = 10 * time.Minute
)

// atOnce is how many deliveries are under way. Those of a receiver that does not
// answer hold theirs for tryTimeout every longestPause.
const atOnce = 32

// Run delivers until ctx is done, and returns when nothing is under way.
func (s *Sender) Run(ctx context.Context) {
	client := newClient(tryTimeout)
	defer client.CloseIdleConnections()
	recorder.Courier{
		Outbox: s.Outbox, AtOnce: atOnce, Linger: s.Linger,
		Deliver: func(ctx context.Context, d recorder.Delivery) { s.deliver(ctx, client, d) }, // within tryTimeout
		Away: func(err error) {
			s.Log.Warn("webhooks: the outbox does not answer, trying again", zap.Error(err))
		},
	}.Run(ctx)
}

// deliver makes one try, and tells the Outbox what came of it.
func (s *Sender) deliver(ctx context.Context, client *http.Client, d recorder.Delivery) {
	v := s.try(ctx, client, d)
	log := s.logOf(d)
	var err error
	switch {
	case v.gaveUp != "":
		log.Error("webhook given up: "+v.gaveUp, zap.Error(v.err))
		err = d.Done(ctx)
	case v.err != nil:
		log.Warn("webhook not delivered, trying again later", zap.Duration("next_try", v.later), zap.Error(v.err))
		err = d.Later(ctx, v.later)
	default:
		log.Debug("webhook delivered or not wanted")
		err = d.Done(ctx)
	}
	if err != nil {
		log.Warn("the outbox was not told: the webhook comes again", zap.Error(err))
	}
}

func (s *Sender) logOf(d recorder.Delivery) *zap.Logger {
	event, to := d.Event(), d.Receiver()
	address, _ := s.address(to)
	return s.Log.With(zap.String("job", event.Recording.ID), zap.String("event", event.ID), zap.String("type", string(event.Type)),
		zap.String("receiver", recorder.RedactWebhook(address)), zap.Int("tries", d.Tries()))
}

// address gives where a receiver is and the key that signs for it.
func (s *Sender) address(to recorder.Receiver) (url, key string) {
	if to.Webhook.URL == "" {
		return s.URLs[to.Name], s.Key
	}
	if to.Webhook.Key != "" {
		return to.Webhook.URL, to.Webhook.Key
	}
	return to.Webhook.URL, s.Key
}
