package upload

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// putParts sends a large file in parts, several at once. Every part that the
// server took is noted in the journal; a later try, of this process or the
// next, sends only what the server does not have.
func (s *s3Store) putParts(ctx context.Context, key string, o *object, replace bool) (sent, error) {
	f, err := os.Open(o.path)
	if err != nil {
		return sent{}, diskFault(err)
	}
	defer f.Close()
	id, have, err := s.begin(ctx, key, o)
	if err != nil {
		return sent{}, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for n := 1; n <= len(o.digest.Parts); n++ {
		if have[n] != "" {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error { return s.putPart(gctx, key, id, n, f, o) })
	}
	if err := group.Wait(); err != nil {
		return sent{}, err
	}
	if ctx.Err() != nil {
		return sent{}, context.Cause(ctx)
	}
	return s.complete(ctx, key, id, o, replace)
}

// begin gives the upload that the journal knows and the parts it has, or a new
// one. Parts of an older upload that is given up are removed.
func (s *s3Store) begin(ctx context.Context, key string, o *object) (string, map[int]string, error) {
	j := o.journal
	if j.UploadID != "" && j.Name == key {
		have, err := s.listParts(ctx, key, o)
		if err != nil {
			return "", nil, err
		}
		if have != nil {
			j.update(func(p *progress) { p.Parts = have })
			return j.UploadID, maps.Clone(have), nil
		}
	}
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.conf.Bucket, Key: &key, ContentType: &o.contentType, Metadata: s.conf.Metadata,
		ContentDisposition: optional(s.conf.ContentDisposition), Tagging: optional(s.conf.Tagging),
	})
	if err != nil {
		return "", nil, s.fault(ctx, key, err)
	}
	id := aws.ToString(out.UploadId)
	j.update(func(p *progress) { p.UploadID, p.Parts = id, map[int]string{} })
	return id, nil, nil
}

// listParts gives the parts of the journal's upload that the server has and that
// are ours byte for byte; nil when it does not know the upload.
func (s *s3Store) listParts(ctx context.Context, key string, o *object) (map[int]string, error) {
	have := map[int]string{}
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.conf.Bucket, Key: &key, UploadId: &o.journal.UploadID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch status := statusOf(err); {
		case err == nil:
		case status == http.StatusNotFound && codeOf(err) != "NoSuchBucket":
			return nil, nil
		case status == http.StatusForbidden: // keys that may only write: the journal is all there is
			return maps.Clone(o.journal.Parts), nil
		default:
			return nil, s.fault(ctx, key, err)
		}
		for _, p := range page.Parts {
			n, etag := int(aws.ToInt32(p.PartNumber)), strings.Trim(aws.ToString(p.ETag), `"`)
			if n < 1 || n > len(o.digest.Parts) || aws.ToInt64(p.Size) != o.partLen(n) {
				continue
			}
			if strings.EqualFold(etag, o.digest.Parts[n-1]) || etag == o.journal.Parts[n] {
				have[n] = etag
			}
		}
	}
	return have, nil
}

func (o *object) partLen(n int) int64 {
	return min(o.digest.PartSize, o.digest.Size-int64(n-1)*o.digest.PartSize)
}

func (s *s3Store) putPart(ctx context.Context, key, id string, n int, f io.ReaderAt, o *object) error {
	size := o.partLen(n)
	sum := o.digest.Parts[n-1]
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.conf.Bucket, Key: &key, UploadId: &id, PartNumber: aws.Int32(int32(n)),
		Body: io.NewSectionReader(f, int64(n-1)*o.digest.PartSize, size), ContentLength: &size,
		ContentMD5: aws.String(contentMD5(sum)),
	})
	if err != nil {
		if codeOf(err) == "NoSuchUpload" {
			o.journal.update(func(p *progress) { p.UploadID, p.Parts = "", nil })
		}
		return s.fault(ctx, key, err)
	}
	etag := strings.Trim(aws.ToString(out.ETag), `"`)
	if isMD5(etag) && !strings.EqualFold(etag, sum) && !encryptedETag(string(out.ServerSideEncryption)) {
		return faultf(corrupt, "%s: part %d arrived changed", s.location(key), n)
	}
	o.journal.update(func(p *progress) {
		if p.UploadID == id {
			p.Parts[n] = etag
		}
	})
	return nil
}

func (s *s3Store) complete(ctx context.Context, key, id string, o *object, replace bool) (sent, error) {
	var parts []types.CompletedPart
	for n := 1; n <= len(o.digest.Parts); n++ {
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(n)), ETag: aws.String(`"` + o.journal.Parts[n] + `"`)})
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &s.conf.Bucket, Key: &key, UploadId: &id, IfNoneMatch: unless(replace),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	out, err := s.client.CompleteMultipartUpload(ctx, in)
	if err != nil && !replace && conditionUnknown(err) {
		in.IfNoneMatch = nil
		out, err = s.client.CompleteMultipartUpload(ctx, in)
	}
	if err != nil {
		f := s.fault(ctx, key, err)
		switch {
		case errors.Is(f, errTaken):
			s.discard(ctx, o.journal.progress)
			fallthrough
		case codeOf(err) == "NoSuchUpload", codeOf(err) == "InvalidPart", codeOf(err) == "InvalidPartOrder":
			// Done by a try whose answer was lost, which the next look at the key tells;
			// or the server lost parts, and all begins anew.
			f.class = passing
			o.journal.update(func(p *progress) { p.UploadID, p.Parts = "", nil })
		}
		return sent{}, f
	}
	o.journal.update(func(p *progress) { p.UploadID, p.Parts = "", nil })
	return sent{true, strings.Trim(aws.ToString(out.ETag), `"`), encryptedETag(string(out.ServerSideEncryption))}, nil
}

// discard aborts a multipart upload, so that nobody pays for its parts. It is a
// courtesy: what it cannot reach, the bucket's lifecycle rule removes.
func (s *s3Store) discard(ctx context.Context, p progress) {
	if p.UploadID == "" || p.Name == "" {
		return
	}
	_, _ = s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.conf.Bucket, Key: &p.Name, UploadId: &p.UploadID})
}
