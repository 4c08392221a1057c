package webhook

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
)

func TestAReceiverThatDoesNotAnswer(t *testing.T) {
	over := make(chan struct{})
	r := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(r.Close)
	t.Cleanup(func() { close(over) })
	_, err := post(t.Context(), newClient(50*time.Millisecond), r.URL+"/hidden?key=hidden", signer{"k", "s"}, &livekit.WebhookEvent{})
	assert.EqualError(t, err, "no answer within 50ms")

	_, err = post(t.Context(), newClient(time.Second), "http://user:hidden@\x7f/", signer{"k", "s"}, &livekit.WebhookEvent{})
	assert.Error(t, err)
	assert.NotContains(t, err.Error(), "hidden")
}
