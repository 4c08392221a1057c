package upload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
	"golang.org/x/sync/errgroup"

	"tapedeck/recorder"
)

// ossStore is a bucket of Alibaba Cloud's Object Storage Service.
type ossStore struct {
	conf   recorder.AliOSSUpload
	bucket *oss.Bucket
}

// ossSum is the object's own note of its SHA-256: an ETag of an upload in parts
// is no sum.
const ossSum = "tapedeck-sha256"

func newOSSStore(opts Options, conf recorder.AliOSSUpload) (*ossStore, error) {
	client, err := oss.New(conf.URL(), conf.AccessKey, conf.Secret, oss.HTTPClient(opts.httpClient("")), oss.UserAgent("tapedeck"))
	if err != nil {
		return nil, &fault{class: final, text: "ali_oss: " + clip(err.Error()), cause: err}
	}
	bucket, err := client.Bucket(conf.Bucket)
	if err != nil {
		return nil, &fault{class: final, text: "ali_oss.bucket: " + clip(err.Error()), cause: err}
	}
	return &ossStore{conf: conf, bucket: bucket}, nil
}

func (s *ossStore) target() string { return "oss:" + s.conf.URL() + "/" + s.conf.Bucket }

func (s *ossStore) plan(size int64) plan {
	if size < multipartMin {
		return plan{md5: true}
	}
	return plan{partSize: partSize(size)}
}

func (s *ossStore) location(key string) string {
	host := s.conf.Endpoint
	if u, err := url.Parse(s.conf.URL()); err == nil {
		host = u.Host
	}
	return objectURL(s.conf.Bucket+"."+host, key)
}

func (s *ossStore) put(ctx context.Context, o *object) (placed, error) { return place(ctx, s, o) }

func (s *ossStore) has(ctx context.Context, key string) (bool, error) { return holds(ctx, s, key) }

func (s *ossStore) look(ctx context.Context, key string, o *object) (presence, error) {
	head, err := s.bucket.GetObjectDetailedMeta(key, oss.WithContext(ctx))
	switch status := ossStatus(err); {
	case status == http.StatusNotFound:
		return absent, nil // or the bucket, of which sending tells
	case status == http.StatusForbidden:
		return unknown, nil
	case err != nil:
		return unknown, s.fault(ctx, key, err)
	}
	size, err := strconv.ParseInt(head.Get("Content-Length"), 10, 64)
	etag := strings.Trim(head.Get("ETag"), `"`)
	if err == nil && size == o.digest.Size && head.Get("X-Oss-Meta-"+ossSum) == o.digest.SHA256 &&
		(o.digest.MD5 == "" || !isMD5(etag) || strings.EqualFold(etag, o.digest.MD5)) {
		return same, nil
	}
	return different, nil
}

func (s *ossStore) send(ctx context.Context, key string, o *object, replace bool) error {
	f, err := os.Open(o.path)
	if err != nil {
		return diskFault(err)
	}
	defer f.Close()
	options := []oss.Option{
		oss.WithContext(ctx), oss.ContentType(o.contentType), oss.Meta(ossSum, o.digest.SHA256), oss.ForbidOverWrite(!replace),
	}
	if o.digest.PartSize == 0 {
		err = s.bucket.PutObject(key, f, append(options, oss.ContentMD5(contentMD5(o.digest.MD5)))...)
	} else {
		err = s.sendParts(ctx, key, f, o, options, replace)
	}
	if err != nil {
		return s.fault(ctx, key, err)
	}
	there, err := s.look(ctx, key, o)
	if err == nil && there != same && there != unknown {
		o.journal.update(func(p *progress) { p.Ours = true })
		err = faultf(corrupt, "%s: what arrived differs from what was sent", s.location(key))
	}
	return err
}

// sendParts sends a large file in parts, several at once. One that fails leaves
// no parts behind.
func (s *ossStore) sendParts(ctx context.Context, key string, f io.ReaderAt, o *object, options []oss.Option, replace bool) error {
	upload, err := s.bucket.InitiateMultipartUpload(key, options...)
	if err != nil {
		return err
	}
	parts := make([]oss.UploadPart, len(o.digest.Parts))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for n := range parts {
		group.Go(func() (err error) {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			size := o.partLen(n + 1)
			part := io.NewSectionReader(f, int64(n)*o.digest.PartSize, size)
			parts[n], err = s.bucket.UploadPart(upload, part, size, n+1, oss.WithContext(gctx), oss.ContentMD5(contentMD5(o.digest.Parts[n])))
			return err
		})
	}
	if err = group.Wait(); err == nil {
		_, err = s.bucket.CompleteMultipartUpload(upload, parts, oss.WithContext(ctx), oss.ForbidOverWrite(!replace))
	}
	if err != nil {
		// Also when ctx is done: parts cost money until somebody removes them.
		_ = s.bucket.AbortMultipartUpload(upload, oss.WithContext(context.WithoutCancel(ctx)))
	}
	return err
}

// discard has nothing to do: what failed removed its parts, and what was killed
// is for the bucket's lifecycle rule.
func (s *ossStore) discard(_ context.Context, _ progress) {}

func (s *ossStore) remove(ctx context.Context, key string) error {
	return s.bucket.DeleteObject(key, oss.WithContext(ctx))
}

func ossStatus(err error) int {
	var api oss.ServiceError
	if errors.As(err, &api) {
		return api.StatusCode
	}
	var other oss.UnexpectedStatusCodeError
	if errors.As(err, &other) {
		return other.Got()
	}
	return 0
}

func (s *ossStore) fault(ctx context.Context, key string, err error) *fault {
	a := answerOf{
		what: "oss://" + s.conf.Bucket + "/" + key + " at " + hostOf(s.conf.URL()), status: ossStatus(err),
		rights: "check access_key and secret, and allow them oss:PutObject and oss:GetObject",
	}
	var api oss.ServiceError
	if errors.As(err, &api) {
		a.code, a.message = api.Code, api.Message
	}
	a.taken = a.code == "FileAlreadyExists"
	a.corrupt = a.code == "InvalidDigest" || a.code == "BadDigest"
	var crc oss.CRCCheckError
	if errors.As(err, &crc) {
		a.status, a.corrupt = http.StatusBadRequest, true
	}
	return a.fault(ctx, err)
}
