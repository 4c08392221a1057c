package webhook

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// verdict is what one try came to: arrived (or not wanted) when zero.
type verdict struct {
	err    error
	later  time.Duration // until the next try, when err is set
	gaveUp string        // why there is none
}

// try makes one try at a delivery.
func (s *Sender) try(ctx context.Context, client *http.Client, d recorder.Delivery) verdict {
	event, to := d.Event(), d.Receiver()
	message, wanted := s.Encode(event, to)
	if !wanted {
		return verdict{}
	}
	url, key := s.address(to)
	if url == "" {
		return verdict{gaveUp: fmt.Sprintf("the configuration has no receiver %q any more", to.Name)}
	}
	secret := s.Keys.GetSecret(key)
	if key == "" || secret == "" {
		return verdict{gaveUp: fmt.Sprintf("signing_key: the API key %q is not in the configuration: set livekit.api_key and livekit.api_secret to it, "+
			"or leave signing_key out of the job's webhook", key)}
	}
	status, err := post(ctx, client, url, signer{key, secret}, fill(message, event))
	switch {
	case err == nil && status/100 == 2:
		return verdict{}
	case err == nil && status == http.StatusGone:
		return verdict{gaveUp: "the receiver answers 410 Gone"}
	case err == nil:
		err = fmt.Errorf("the receiver answers %d %s", status, http.StatusText(status))
	}
	return s.again(d, err)
}

// fill adds what every event has. The id is the same for every receiver and try, so
// that a receiver can drop repeats.
func fill(message *livekit.WebhookEvent, event recorder.Event) *livekit.WebhookEvent {
	message.Id = "EV_" + event.ID
	message.CreatedAt = time.Unix(0, event.At).Unix()
	return message
}

// again puts a delivery off, with a pause that doubles from try to try, until there
// is no time left.
func (s *Sender) again(d recorder.Delivery, err error) verdict {
	whole := s.GiveUpAfter
	if whole <= 0 {
		whole = DefaultGiveUpAfter
	}
	left := whole - s.Now().Sub(d.Since())
	if left <= 0 {
		return verdict{err: err, gaveUp: fmt.Sprintf("it was tried for %s", whole)}
	}
	return verdict{err: err, later: min(backOff(d.Tries()), max(left, firstPause))}
}

// backOff is the pause after so many tries: 1 s, 2 s, 4 s … 10 min.
func backOff(tries int) time.Duration {
	const doublings = 10 // beyond that it is longer than longestPause anyway
	return min(firstPause<<min(max(tries-1, 0), doublings), longestPause)
}
