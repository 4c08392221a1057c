package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/protojson"
)

// contentType keeps frameworks from parsing the body before its checksum is
// verified: LiveKit's own choice.
const contentType = "application/webhook+json"

// tokenLife is LiveKit's.
const tokenLife = 5 * time.Minute

// signer is an API key and its secret.
type signer struct{ key, secret string }

// sign makes the token that vouches for a body. protocol/webhook's URLNotifier
// does the same, but takes every answer below 500 for a delivery and loses what it
// has when it ends.
func (s signer) sign(body []byte) (string, error) {
	sum := sha256.Sum256(body)
	return auth.NewAccessToken(s.key, s.secret).SetValidFor(tokenLife).
		SetSha256(base64.StdEncoding.EncodeToString(sum[:])).ToJWT()
}

// newClient follows no redirects: a signature is for one receiver.
func newClient(timeout time.Duration) *http.Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: atOnce, IdleConnTimeout: time.Minute,
	}
	return &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends one event, and gives the answer's status. Its errors hold no URL.
func post(ctx context.Context, client *http.Client, address string, by signer, event *livekit.WebhookEvent) (status int, err error) {
	body, err := protojson.Marshal(event)
	if err != nil {
		return 0, fmt.Errorf("making the body: %w", err)
	}
	token, err := by.sign(body)
	if err != nil {
		return 0, fmt.Errorf("signing with %s: %w", by.key, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, withoutURL(err, client.Timeout)
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "Tapedeck")
	resp, err := client.Do(req)
	if err != nil {
		return 0, withoutURL(err, client.Timeout)
	}
	// A connection is used again only when the answer was read.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

// withoutURL leaves out what net/http puts before its errors: the whole URL, with
// its query.
func withoutURL(err error, limit time.Duration) error {
	var with *url.Error
	if errors.As(err, &with) {
		if with.Timeout() {
			return fmt.Errorf("no answer within %s", limit)
		}
		return with.Err
	}
	return err
}
