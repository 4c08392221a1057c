package upload

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"tapedeck/recorder"
)

// gcsStore is a bucket of Google Cloud Storage. The SDK is used as it is:
// LiveKit's module around it replaces the process's own HTTP transport, and its
// calls can be neither bounded nor told to leave other objects alone.
type gcsStore struct {
	conf   recorder.GCPUpload
	bucket *storage.BucketHandle
}

const gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"

// gcsEmulator is the SDK's own variable for a server that asks for no credentials.
const gcsEmulator = "STORAGE_EMULATOR_HOST"

func newGCSStore(ctx context.Context, opts Options, conf recorder.GCPUpload) (*gcsStore, error) {
	client := opts.httpClient(conf.Proxy)
	tokens, err := gcsTokens(ctx, client, conf)
	if err != nil {
		return nil, &fault{
			class: denied, text: "gcp: no credentials: " + clip(err.Error()), cause: err,
			remedy: "give credentials, the JSON key of a service account, or set GOOGLE_APPLICATION_CREDENTIALS",
		}
	}
	authorized := *client
	if tokens != nil {
		authorized.Transport = &oauth2.Transport{Source: tokens, Base: client.Transport}
	}
	gcs, err := storage.NewClient(ctx, option.WithHTTPClient(&authorized), storage.WithJSONReads())
	if err != nil {
		return nil, &fault{class: denied, text: "gcp: " + clip(err.Error()), cause: err}
	}
	gcs.SetRetry(
		storage.WithMaxAttempts(3), storage.WithPolicy(storage.RetryIdempotent),
		storage.WithErrorFunc(func(err error) bool { return !waited(err) && storage.ShouldRetry(err) }),
		storage.WithBackoff(gax.Backoff{Initial: 200 * time.Millisecond, Max: min(5*time.Second, opts.Backoff.Max), Multiplier: 2}),
	)
	return &gcsStore{conf: conf, bucket: gcs.Bucket(conf.Bucket)}, nil
}

// gcsTokens gives those of the output's service account, or of this machine. They
// are fetched with client, hence bounded like everything else.
func gcsTokens(ctx context.Context, client *http.Client, conf recorder.GCPUpload) (oauth2.TokenSource, error) {
	// Tokens are renewed for as long as the store is used, which ctx may not be.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, client)
	if conf.Credentials != "" {
		account, err := google.JWTConfigFromJSON([]byte(conf.Credentials), gcsScope)
		if err != nil {
			return nil, errors.New("the key of the service account cannot be used") // the SDK's text quotes it
		}
		return account.TokenSource(ctx), nil
	}
	if os.Getenv(gcsEmulator) != "" {
		return nil, nil
	}
	own, err := google.FindDefaultCredentials(ctx, gcsScope)
	if err != nil {
		return nil, err
	}
	return own.TokenSource, nil
}

func (g *gcsStore) target() string                        { return "gs:" + g.conf.Bucket }
func (g *gcsStore) plan(int64) plan                       { return plan{md5: true} }
func (g *gcsStore) discard(_ context.Context, _ progress) {} // an upload that is not ended expires

func (g *gcsStore) location(key string) string {
	return objectURL(g.conf.Bucket+".storage.googleapis.com", key)
}

func (g *gcsStore) put(ctx context.Context, o *object) (placed, error) { return place(ctx, g, o) }

func (g *gcsStore) has(ctx context.Context, key string) (bool, error) { return holds(ctx, g, key) }

func (g *gcsStore) look(ctx context.Context, key string, o *object) (presence, error) {
	attrs, err := g.bucket.Object(key).Attrs(ctx)
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
		return absent, nil
	case gcsStatus(err) == http.StatusForbidden:
		return unknown, nil
	case err != nil:
		return unknown, g.fault(ctx, key, err)
	case attrs.Size == o.digest.Size && hex.EncodeToString(attrs.MD5) == o.digest.MD5:
		return same, nil
	default:
		return different, nil
	}
}

// send uploads with the sum, which the server compares before the object is there.
func (g *gcsStore) send(ctx context.Context, key string, o *object, replace bool) error {
	f, err := os.Open(o.path)
	if err != nil {
		return diskFault(err)
	}
	defer f.Close()
	sum, err := hex.DecodeString(o.digest.MD5)
	if err != nil {
		return faultf(final, "%s: no sum of the file", key)
	}
	object := g.bucket.Object(key)
	if !replace {
		object = object.If(storage.Conditions{DoesNotExist: true})
	}
	// Without its end an upload leaves nothing: cancelling is how one is abandoned.
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := object.NewWriter(wctx)
	w.ContentType, w.MD5 = o.contentType, sum
	w.ChunkSize, w.ChunkRetryDeadline = 0, 30*time.Second // 0 is one request, and no buffer of a chunk's size
	if o.digest.Size > partMin {
		w.ChunkSize = int(partMin)
	}
	if _, err := io.Copy(w, f); err != nil {
		cancel()
		_ = w.Close()
		return g.fault(ctx, key, err)
	}
	if err := w.Close(); err != nil {
		return g.fault(ctx, key, err)
	}
	attrs := w.Attrs()
	if attrs.Size != o.digest.Size || (len(attrs.MD5) > 0 && hex.EncodeToString(attrs.MD5) != o.digest.MD5) {
		o.journal.update(func(p *progress) { p.Ours = true })
		return faultf(corrupt, "%s: what arrived differs from what was sent (%d of %d bytes)", g.location(key), attrs.Size, o.digest.Size)
	}
	return nil
}

func (g *gcsStore) remove(ctx context.Context, key string) error {
	return g.bucket.Object(key).Delete(ctx)
}

func gcsStatus(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}

func (g *gcsStore) fault(ctx context.Context, key string, err error) *fault {
	what := fmt.Sprintf("gs://%s/%s", g.conf.Bucket, key)
	var token *oauth2.RetrieveError
	switch {
	case errors.As(err, &token) && ctx.Err() == nil:
		return &fault{
			class: httpClass(token.Response.StatusCode, denied), cause: err,
			text:   fmt.Sprintf("%s: no token: %s (%s)", what, token.Response.Status, clip(token.ErrorCode)),
			remedy: "check the service account's key, and that it was not revoked",
		}
	case errors.Is(err, storage.ErrBucketNotExist) || errors.Is(err, storage.ErrObjectNotExist):
		return answerOf{what: what, status: http.StatusNotFound, code: "notFound"}.fault(ctx, err)
	}
	a := answerOf{what: what, status: gcsStatus(err), rights: "give the account the role Storage Object User on the bucket"}
	var api *googleapi.Error
	if errors.As(err, &api) {
		a.message = api.Message
		if len(api.Errors) > 0 {
			a.code = api.Errors[0].Reason
		}
	}
	a.taken = a.status == http.StatusPreconditionFailed
	a.corrupt = a.status == http.StatusBadRequest && (a.code == "invalid" || a.code == "badRequest")
	return a.fault(ctx, err)
}
