package main

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lkwebhook "github.com/livekit/protocol/webhook"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/webhook"
)

// jobHooks is the outbox of the webhooks that jobs bring themselves.
const jobHooks = "job-webhooks"

// senders gives one for each configured receiver, and one for the webhooks of jobs.
// Each has an outbox of its own: a receiver that is away holds up no other, and
// processes whose configurations differ do not get in each other's way. None
// without a key to sign with.
func (a *app) senders(q *queue.Queue, log *zap.Logger) ([]*webhook.Sender, error) {
	if !a.config.LiveKit.hasKey() {
		return nil, nil
	}
	keys := auth.NewFileBasedKeyProviderFromMap(a.config.LiveKit.keys())
	all := make([]*webhook.Sender, 0, len(a.config.Webhooks.URLs)+1)
	add := func(opts queue.OutboxOptions, urls map[string]string) error {
		outbox, err := q.OpenOutbox(opts)
		if err != nil {
			return err
		}
		all = append(all, &webhook.Sender{
			Outbox: outbox, URLs: urls, Key: a.config.LiveKit.APIKey, Keys: keys,
			Encode: webhookEvent, GiveUpAfter: a.config.Webhooks.GiveUpAfter, Now: time.Now, Log: log,
		})
		return nil
	}
	for _, url := range a.config.Webhooks.URLs {
		name := receiverName(url)
		if err := add(queue.OutboxOptions{Name: name, Receivers: []string{name}}, map[string]string{name: url}); err != nil {
			return nil, err
		}
	}
	return all, add(queue.OutboxOptions{Name: jobHooks, Webhooks: true}, nil)
}

// receiverName names a receiver without its secrets, in whatever place it is listed.
func receiverName(url string) string {
	sum := sha256.Sum256([]byte(url))
	return "url-" + hex.EncodeToString(sum[:8])
}

// webhookEvent makes the body of a webhook: an event of LiveKit's. Of jobs that
// came through livekit-server, that tells the receivers itself, but for webhooks of
// the job's own that it was not shown.
func webhookEvent(e recorder.Event, to recorder.Receiver) (*livekit.WebhookEvent, bool) {
	if to.Name != "" && egress.FromServer(e.Recording.Origin) {
		return nil, false
	}
	name := lkwebhook.EventEgressUpdated
	switch e.Type {
	case recorder.EventQueued:
		name = lkwebhook.EventEgressStarted
	case recorder.EventEnded:
		name = lkwebhook.EventEgressEnded
	}
	if !to.Webhook.Wants(name) {
		return nil, false
	}
	return &livekit.WebhookEvent{Event: name, EgressInfo: egress.Info(e.Recording)}, true
}
