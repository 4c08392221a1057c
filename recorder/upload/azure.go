package upload

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"golang.org/x/sync/errgroup"

	"tapedeck/recorder"
)

// azureStore is a container of Azure Blob Storage.
type azureStore struct {
	conf   recorder.AzureBlobUpload
	client *container.Client
}

func azureHost(account string) string { return account + ".blob.core.windows.net" }

func newAzureStore(opts Options, conf recorder.AzureBlobUpload) (*azureStore, error) {
	key, err := blob.NewSharedKeyCredential(conf.AccountName, conf.AccountKey)
	if err != nil {
		return nil, &fault{class: final, text: "azure: account_key: is no base64", cause: err}
	}
	where := objectURL(azureHost(conf.AccountName), conf.ContainerName)
	client, err := container.NewClientWithSharedKeyCredential(where, key, &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: opts.httpClient(""),
		Retry: policy.RetryOptions{
			MaxRetries: 2, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: min(5*time.Second, opts.Backoff.Max), ShouldRetry: azureRepeats,
		},
		Telemetry: policy.TelemetryOptions{ApplicationID: "tapedeck"},
	}})
	if err != nil {
		return nil, &fault{class: final, text: "azure: " + clip(err.Error()), cause: err}
	}
	return &azureStore{conf: conf, client: client}, nil
}

// azureRepeats is the SDK's own rule, but for what was waited for.
func azureRepeats(resp *http.Response, err error) bool {
	switch {
	case err != nil:
		return !waited(err)
	case resp.StatusCode == http.StatusNotImplemented:
		return false
	default:
		return resp.StatusCode != http.StatusConflict && httpClass(resp.StatusCode, denied) == passing
	}
}

func (a *azureStore) target() string {
	return "azure:" + a.conf.AccountName + "/" + a.conf.ContainerName
}

// plan: the sum of the whole is kept with the blob, those of the parts are compared.
func (a *azureStore) plan(size int64) plan {
	if size < multipartMin {
		return plan{md5: true}
	}
	return plan{md5: true, partSize: partSize(size)}
}

// discard has nothing to do: blocks that are not committed expire within a week.
func (a *azureStore) discard(_ context.Context, _ progress) {}

func (a *azureStore) location(key string) string {
	return objectURL(azureHost(a.conf.AccountName), path.Join(a.conf.ContainerName, key))
}

func (a *azureStore) put(ctx context.Context, o *object) (placed, error) { return place(ctx, a, o) }

func (a *azureStore) has(ctx context.Context, key string) (bool, error) { return holds(ctx, a, key) }

func (a *azureStore) look(ctx context.Context, key string, o *object) (presence, error) {
	there, err := a.client.NewBlobClient(key).GetProperties(ctx, nil)
	switch status := azureStatus(err); {
	case status == http.StatusNotFound:
		return absent, nil // or the container, of which sending tells
	case status == http.StatusForbidden && !bloberror.HasCode(err, bloberror.AuthenticationFailed):
		return unknown, nil
	case err != nil:
		return unknown, a.fault(ctx, key, err)
	case there.ContentLength != nil && *there.ContentLength == o.digest.Size && hex.EncodeToString(there.ContentMD5) == o.digest.MD5:
		return same, nil
	default:
		return different, nil
	}
}

func (a *azureStore) send(ctx context.Context, key string, o *object, replace bool) error {
	f, err := os.Open(o.path)
	if err != nil {
		return diskFault(err)
	}
	defer f.Close()
	sum, err := hex.DecodeString(o.digest.MD5)
	if err != nil {
		return faultf(final, "%s: no sum of the file", key)
	}
	head := &blob.HTTPHeaders{BlobContentType: &o.contentType, BlobContentMD5: sum}
	only := &blob.AccessConditions{}
	if !replace {
		anything := azcore.ETagAny
		only.ModifiedAccessConditions = &blob.ModifiedAccessConditions{IfNoneMatch: &anything}
	}
	to := a.client.NewBlockBlobClient(key)
	if o.digest.PartSize == 0 {
		_, err = to.Upload(ctx, f, &blockblob.UploadOptions{
			HTTPHeaders: head, AccessConditions: only, TransactionalValidation: blob.TransferValidationTypeMD5(sum),
		})
	} else if err = a.stage(ctx, to, f, o); err == nil {
		_, err = to.CommitBlockList(ctx, blockIDs(o), &blockblob.CommitBlockListOptions{HTTPHeaders: head, AccessConditions: only})
	}
	if err != nil {
		return a.fault(ctx, key, err)
	}
	return a.verify(ctx, key, o)
}

// stage sends the parts, several at once; the server compares each one's sum.
func (a *azureStore) stage(ctx context.Context, to *blockblob.Client, f io.ReaderAt, o *object) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for n, id := range blockIDs(o) {
		group.Go(func() error {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			sum, err := hex.DecodeString(o.digest.Parts[n])
			if err != nil {
				return err
			}
			part := io.NewSectionReader(f, pieceOf(o.digest.PartSize, o.digest.Size, n+1).at, o.partLen(n+1))
			_, err = to.StageBlock(gctx, id, streaming.NopCloser(part), &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(sum)})
			return err
		})
	}
	return group.Wait()
}

// blockIDs names the parts: all of one length, as Azure wants it.
func blockIDs(o *object) []string {
	ids := make([]string, len(o.digest.Parts))
	for n := range ids {
		ids[n] = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "part-%06d", n))
	}
	return ids
}

// verify asks for size and sum. Keys of an account may always read.
func (a *azureStore) verify(ctx context.Context, key string, o *object) error {
	there, err := a.look(ctx, key, o)
	if err == nil && there != same && there != unknown {
		o.journal.update(func(p *progress) { p.Ours = true })
		err = faultf(corrupt, "%s: what arrived differs from what was sent", a.location(key))
	}
	return err
}

func (a *azureStore) remove(ctx context.Context, key string) error {
	_, err := a.client.NewBlobClient(key).Delete(ctx, nil)
	return err
}

func azureStatus(err error) int {
	var api *azcore.ResponseError
	if errors.As(err, &api) {
		return api.StatusCode
	}
	return 0
}

func (a *azureStore) fault(ctx context.Context, key string, err error) *fault {
	r := answerOf{what: a.location(key), status: azureStatus(err), rights: "check account_name and account_key, and this machine's clock"}
	var api *azcore.ResponseError
	if errors.As(err, &api) {
		r.code = api.ErrorCode
	}
	r.taken = bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet)
	r.corrupt = bloberror.HasCode(err, bloberror.MD5Mismatch)
	return r.fault(ctx, err)
}
