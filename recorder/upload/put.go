package upload

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"tapedeck/recorder"
)

// putStore is a presigned URL. It is made for one job and used from one goroutine.
type putStore struct {
	url    *url.URL
	client *http.Client
	shown  string // without secrets
}

func newPutStore(opts Options, rawURL string) (*putStore, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, faultf(final, "upload_url %q: must be an http or https URL", recorder.RedactURL(rawURL))
	}
	plain := *u
	plain.RawQuery, plain.Fragment, plain.User = "", "", nil
	return &putStore{url: u, client: opts.httpClient(""), shown: plain.String()}, nil
}

func (p *putStore) target() string                        { return "put:" + p.shown }
func (p *putStore) plan(int64) plan                       { return plan{md5: true} }
func (p *putStore) discard(_ context.Context, _ progress) {}

func (p *putStore) has(context.Context, string) (bool, error) { return false, nil }

// put sends the whole file. Verified is what the server says of it: an ETag that
// is an MD5 must be the file's; else the answer must come after the last byte,
// and the server has been given Content-MD5 to check.
func (p *putStore) put(ctx context.Context, o *object) (placed, error) {
	signed := p.signature()
	if o.beside && !signed.conditional {
		if err := p.vacant(ctx); err != nil {
			return placed{}, err
		}
	}
	done, err := p.send(ctx, o, signed)
	if refusal, ok := asRefusal(err); ok && refusal.code == "SignatureDoesNotMatch" && !signed.bare {
		// Signed for other headers than ours: try without any of our own.
		signed.bare = true
		done, err = p.send(ctx, o, signed)
	}
	if refusal, ok := asRefusal(err); ok && o.beside && isOccupied(refusal) {
		err = p.occupied("something lies there already")
	}
	return done, err
}

const signAnew = "sign the URL for PUT, for this key, with keys that may write it"

// signature is what is known of how a URL was signed.
type signature struct {
	bare  bool // send no header of our own
	azure bool
	// conditional says that it is for a server which knows If-None-Match.
	conditional bool
}

func (p *putStore) signature() signature {
	q := p.url.Query()
	azure := q.Has("sig") && q.Has("sv")
	return signature{
		// Version 2 signs Content-MD5 and Content-Type, whether sent or not.
		bare:        q.Has("Signature") && !q.Has("X-Amz-Signature") && !q.Has("X-Goog-Signature"),
		azure:       azure,
		conditional: azure || q.Has("X-Amz-Signature") || q.Has("AWSAccessKeyId"),
	}
}

func (p *putStore) send(ctx context.Context, o *object, signed signature) (placed, error) {
	f, err := os.Open(o.path)
	if err != nil {
		return placed{}, diskFault(err)
	}
	defer f.Close()
	body := &countingReader{r: f}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.url.String(), io.NopCloser(body))
	if err != nil {
		return placed{}, faultf(final, "%s: the URL cannot be used", p.shown)
	}
	req.ContentLength = o.digest.Size // or it would be chunked, which S3 refuses
	req.Header.Set("User-Agent", "tapedeck")
	const worthAsking = 1 << 20
	if o.digest.Size > worthAsking {
		req.Header.Set("Expect", "100-continue") // a refusal comes before the file is sent
	}
	if !signed.bare {
		req.Header.Set("Content-Type", o.contentType)
		req.Header.Set("Content-MD5", contentMD5(o.digest.MD5))
	}
	if signed.azure {
		req.Header.Set("X-Ms-Blob-Type", "BlockBlob")
	}
	if o.beside {
		req.Header.Set("If-None-Match", ifVacant)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return placed{}, context.Cause(ctx)
		}
		f := netFault(p.shown, err)
		if hungUp(err) { // no doctor looks at a job's URL
			f.remedy = "the server hung up while it was sent; some do so to refuse: " + signAnew
		}
		return placed{}, f
	}
	defer resp.Body.Close()
	if err := p.judge(resp); err != nil {
		return placed{}, err
	}
	if sent := body.n.Load(); sent != o.digest.Size {
		return placed{}, faultf(corrupt, "%s: the server answered %s after %d of %d bytes", p.shown, resp.Status, sent, o.digest.Size)
	}
	etag := strings.Trim(resp.Header.Get("ETag"), `"`)
	if isMD5(etag) && !strings.EqualFold(etag, o.digest.MD5) && !encryptedETag(resp.Header.Get("X-Amz-Server-Side-Encryption")) {
		return placed{}, faultf(corrupt, "%s: what arrived differs from what was sent (ETag %s, MD5 %s)", p.shown, etag, o.digest.MD5)
	}
	return placed{Location: p.shown, Name: o.name}, nil
}

// encryptedETag: with KMS keys an ETag has an MD5's form but is none.
func encryptedETag(encryption string) bool { return strings.HasPrefix(encryption, "aws:") }

// refusal is a server's answer that is no success.
type refusal struct {
	fault
	status int
	code   string // of S3's error XML, "" for none
}

func asRefusal(err error) (*refusal, bool) {
	var r *refusal
	return r, errors.As(err, &r)
}

func (r *refusal) Unwrap() error { return &r.fault }

// judge reads S3's error document where there is one.
func (p *putStore) judge(resp *http.Response) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	const longest = 16 << 10
	data, _ := io.ReadAll(io.LimitReader(resp.Body, longest))
	var doc struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	_ = xml.Unmarshal(data, &doc)
	r := &refusal{status: resp.StatusCode, code: doc.Code}
	r.class = httpClass(resp.StatusCode, final)
	r.text = fmt.Sprintf("%s: %s", p.shown, resp.Status)
	if doc.Code != "" {
		r.text += fmt.Sprintf(" (%s): %s", clip(doc.Code), clip(doc.Message))
	}
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		r.remedy = fmt.Sprintf("redirects are not followed, lest the URL be given away: sign it for %s", hostOf(resp.Header.Get("Location")))
	case doc.Code == "BadDigest" || doc.Code == "XAmzContentSHA256Mismatch" || doc.Code == "IncompleteBody":
		r.class = corrupt
	case doc.Code == "RequestTimeout": // S3's 400 for a client that was too slow
		r.class = passing
	case doc.Code == "RequestTimeTooSkewed":
		r.class, r.remedy = denied, "set this machine's clock"+skew(resp.Header.Get("Date"), time.Now())
	case strings.Contains(strings.ToLower(doc.Message), "expired") || p.expired(time.Now()):
		r.remedy = "the URL has expired: sign it for longer than the recording and its upload can take"
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized:
		r.remedy = signAnew
	}
	return r
}

// expired reads the lifetime a version 4 URL tells of itself.
func (p *putStore) expired(now time.Time) bool {
	q := p.url.Query()
	for _, vendor := range []string{"X-Amz-", "X-Goog-"} {
		at, err := time.Parse("20060102T150405Z", q.Get(vendor+"Date"))
		if err != nil {
			continue
		}
		life, err := time.ParseDuration(q.Get(vendor+"Expires") + "s")
		if err == nil && now.After(at.Add(life)) {
			return true
		}
	}
	return false
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}
