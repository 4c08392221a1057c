package upload

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
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
	last := 0 // until the header's part is here, others can tell that something may be missing
	if o.journal.Grown != nil {
		last = 1
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for n := 1; n <= len(o.digest.Parts); n++ {
		if have[n] != "" || n == last {
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
	if last > 0 && have[last] == "" {
		if err := s.putPart(ctx, key, id, last, f, o); err != nil {
			return sent{}, err
		}
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
	id, err := s.create(ctx, key, o.contentType, "")
	if err != nil {
		return "", nil, err
	}
	j.update(func(p *progress) {
		p.drop()
		p.UploadID = id
	})
	return id, nil, nil
}

// markKey is the name under which the metadata of an object that was uploaded while it grew tell
// which upload it was: the only way to know that once the upload is completed.
const markKey = "tapedeck-upload"

// create begins an upload in parts. mark may be empty.
func (s *s3Store) create(ctx context.Context, key, contentType, mark string) (string, error) {
	metadata := s.conf.Metadata
	if mark != "" {
		metadata = maps.Clone(metadata)
		if metadata == nil {
			metadata = map[string]string{}
		}
		metadata[markKey] = mark
	}
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.conf.Bucket, Key: &key, ContentType: &contentType, Metadata: metadata,
		ContentDisposition: optional(s.conf.ContentDisposition), Tagging: optional(s.conf.Tagging),
	})
	if err != nil {
		return "", s.fault(ctx, key, err)
	}
	return aws.ToString(out.UploadId), nil
}

// listParts gives the parts of the journal's upload that the server has and that
// are ours byte for byte; nil when it does not know the upload.
func (s *s3Store) listParts(ctx context.Context, key string, o *object) (map[int]string, error) {
	have := map[int]string{}
	ours := func(n int, etag string) {
		if n >= 1 && n <= len(o.digest.Parts) && o.journal.has(n, etag, o.digest.Parts[n-1]) {
			have[n] = etag
		}
	}
	there, err := s.listed(ctx, key, o.journal.UploadID)
	switch {
	case codeOf(err) == noSuchUpload:
		o.journal.update(func(p *progress) { p.Fenced = p.Grown != nil })
		return nil, nil
	case errors.Is(err, errUnlisted): // keys that may only write: the journal is all there is
		for n, etag := range o.journal.Parts {
			ours(n, etag)
		}
		return have, nil
	case err != nil:
		return nil, err
	}
	for n, p := range there {
		if p.size == pieceOf(o.digest.PartSize, o.digest.Size, n).size {
			ours(n, p.etag)
		}
	}
	return have, nil
}

// listedPart is a part as the server has it.
type listedPart struct {
	etag string
	size int64
}

const noSuchUpload = "NoSuchUpload"

// errUnlisted says that the keys may not list parts.
var errUnlisted = errors.New("parts may not be listed")

// listed gives the parts of an upload. codeOf its error is noSuchUpload when the
// server does not know it; or it Is errUnlisted.
func (s *s3Store) listed(ctx context.Context, key, id string) (map[int]listedPart, error) {
	there := map[int]listedPart{}
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.conf.Bucket, Key: &key, UploadId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch status := statusOf(err); {
		case err == nil:
		case status == http.StatusNotFound && codeOf(err) != "NoSuchBucket":
			return nil, &fault{class: passing, text: s.location(key) + ": the upload is not there any more", cause: &smithy.GenericAPIError{Code: noSuchUpload}}
		case status == http.StatusForbidden:
			return nil, &fault{class: denied, text: s.fault(ctx, key, err).Error(), cause: errUnlisted}
		default:
			return nil, s.fault(ctx, key, err)
		}
		for _, p := range page.Parts {
			there[int(aws.ToInt32(p.PartNumber))] = listedPart{strings.Trim(aws.ToString(p.ETag), `"`), aws.ToInt64(p.Size)}
		}
	}
	return there, nil
}

func (o *object) partLen(n int) int64 { return pieceOf(o.digest.PartSize, o.digest.Size, n).size }

func (s *s3Store) putPart(ctx context.Context, key, id string, n int, f io.ReaderAt, o *object) error {
	p := pieceOf(o.digest.PartSize, o.digest.Size, n)
	p.sum = o.digest.Parts[n-1]
	etag, err := s.sendPiece(ctx, key, id, f, p)
	if codeOf(err) == noSuchUpload {
		o.journal.update(func(pr *progress) {
			pr.drop()
			pr.Fenced = pr.Grown != nil
		})
	}
	if err != nil {
		return err
	}
	o.journal.update(func(pr *progress) {
		if pr.UploadID == id {
			pr.sent(n, etag, p.sum)
		}
	})
	return nil
}

// sendPiece sends one part, whatever was sent under its number before.
func (s *s3Store) sendPiece(ctx context.Context, key, id string, from io.ReaderAt, p piece) (etag string, err error) {
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.conf.Bucket, Key: &key, UploadId: &id, PartNumber: aws.Int32(int32(p.n)), //nolint:gosec // 10,000 at most
		Body: io.NewSectionReader(from, p.at, p.size), ContentLength: &p.size,
		ContentMD5: aws.String(contentMD5(p.sum)),
	})
	if err != nil {
		return "", s.fault(ctx, key, err)
	}
	etag = strings.Trim(aws.ToString(out.ETag), `"`)
	if isMD5(etag) && !strings.EqualFold(etag, p.sum) && !encryptedETag(string(out.ServerSideEncryption)) {
		return "", faultf(corrupt, "%s: part %d arrived changed", s.location(key), p.n)
	}
	return etag, nil
}

// complete makes an object of the parts that the journal has.
func (s *s3Store) complete(ctx context.Context, key, id string, o *object, replace bool) (sent, error) {
	etags := make([]string, len(o.digest.Parts))
	for n := range etags {
		etags[n] = o.journal.Parts[n+1]
	}
	asked := time.Now()
	got, err := s.completeOf(ctx, key, id, etags, replace, o.journal.Grown != nil)
	switch {
	case err == nil:
		o.journal.update(func(p *progress) { p.drop() })
	case o.journal.Grown != nil && s.appears(ctx, key, o, asked, codeOf(err) == noSuchUpload):
		o.journal.update(func(p *progress) { p.drop() })
		return sent{done: true, etag: o.etag()}, nil
	case errors.Is(err, errTaken):
		s.discard(ctx, o.journal.progress)
		o.journal.update(func(p *progress) { p.drop() })
	case o.journal.Grown != nil && (codeOf(err) == "InvalidPart" || codeOf(err) == "EntityTooSmall") && s.recall(ctx, key, o):
		err = &fault{class: passing, text: err.Error(), cause: err}
	case codeOf(err) == noSuchUpload, codeOf(err) == "InvalidPart", codeOf(err) == "InvalidPartOrder", codeOf(err) == "EntityTooSmall":
		// Done by a try whose answer was lost, which the next look at the key tells;
		// or the server lost parts, and all begins anew.
		o.journal.update(func(p *progress) {
			p.drop()
			p.Fenced = p.Fenced || (p.Grown != nil && codeOf(err) == noSuchUpload)
		})
		err = &fault{class: passing, text: err.Error(), cause: err}
	}
	return got, err
}

// recall forgets the parts that the storage has otherwise than they were sent last, so that they are
// sent again; false when there are none, or nobody may know. A short part that was given up, or whose connection broke, may
// arrive after the full one.
func (s *s3Store) recall(ctx context.Context, key string, o *object) bool {
	there, err := s.listed(ctx, key, o.journal.UploadID)
	if err != nil {
		return false
	}
	forgotten := false
	o.journal.update(func(p *progress) {
		known := len(p.Parts)
		maps.DeleteFunc(p.Parts, func(n int, etag string) bool { return there[n] != listedPart{etag, o.partLen(n)} })
		forgotten = len(p.Parts) < known
	})
	return forgotten
}

// appears reports whether the object is there although nobody said so, and may wait for
// it: some servers put the parts together for longer than anybody waits for an
// answer, and know nothing of the upload when they are asked again. Sending all of it
// anew takes longer.
func (s *s3Store) appears(ctx context.Context, key string, o *object, asked time.Time, wait bool) bool {
	const patience, every = time.Minute, time.Second
	for began := time.Now(); ; {
		head, err := s.headOf(ctx, key)
		if err == nil && head.there {
			return head.is(o.digest.Size, o.etag(), asked)
		}
		if !wait || ctx.Err() != nil || time.Since(began) >= patience {
			return false
		}
		sleep(ctx, every)
	}
}

// completeOf makes an object of parts, the first one first. late says that nobody
// looked at the key for long; that matters where writes know no conditions.
func (s *s3Store) completeOf(ctx context.Context, key, id string, etags []string, replace, late bool) (sent, error) {
	var parts []types.CompletedPart
	for n, etag := range etags {
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(n + 1)), ETag: aws.String(`"` + etag + `"`)}) //nolint:gosec // 10,000 at most
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &s.conf.Bucket, Key: &key, UploadId: &id, IfNoneMatch: unless(replace),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	out, err := s.client.CompleteMultipartUpload(ctx, in)
	if err != nil && !replace && conditionUnknown(err) {
		if late {
			if taken, err := s.has(ctx, key); err == nil && taken {
				return sent{}, &fault{class: passing, text: s.location(key) + ": " + errTaken.Error(), cause: errTaken}
			}
		}
		in.IfNoneMatch = nil
		out, err = s.client.CompleteMultipartUpload(ctx, in)
	}
	if err != nil {
		return sent{}, s.fault(ctx, key, err)
	}
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
