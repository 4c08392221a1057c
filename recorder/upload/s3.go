package upload

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tapedeck/recorder"
)

// s3Store is a bucket.
type s3Store struct {
	conf   recorder.S3Upload
	client *s3.Client
}

// newS3Store opens no connection; only the SDK's own chain may ask for keys.
func newS3Store(ctx context.Context, opts Options, conf recorder.S3Upload) (*s3Store, error) {
	cfg, err := awsConfig(ctx, opts, conf)
	if err != nil {
		return nil, &fault{class: denied, text: "s3: " + netText(err), cause: err}
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if conf.Endpoint != "" {
			o.BaseEndpoint = aws.String(conf.Endpoint)
		}
		o.UsePathStyle = conf.ForcePathStyle
		// The SDK's checksum trailers are unknown to many S3-compatible servers.
		// Content-MD5 and ETags are known to all.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = opts.awsRetryer()
	})
	return &s3Store{conf: conf, client: client}, nil
}

func (s *s3Store) target() string {
	return "s3:" + s.conf.Endpoint + "/" + s.conf.Region + "/" + s.conf.Bucket
}

func (s *s3Store) plan(size int64) plan {
	if size < multipartMin {
		return plan{md5: true}
	}
	return plan{partSize: partSize(size)}
}

// location is the object's URL, as LiveKit writes it for every region.
func (s *s3Store) location(key string) string {
	at := url.URL{Scheme: "https", Host: "s3.amazonaws.com"}
	if u, err := url.Parse(s.conf.Endpoint); err == nil && u.Host != "" {
		at = url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	}
	// The SDK itself puts no bucket's name before an address.
	if s.conf.ForcePathStyle || net.ParseIP(at.Hostname()) != nil {
		at.Path = path.Join(at.Path, s.conf.Bucket, key)
		return at.String()
	}
	at.Host, at.Path = s.conf.Bucket+"."+at.Host, path.Join(at.Path, key)
	return at.String()
}

func (s *s3Store) put(ctx context.Context, o *object) (placed, error) { return place(ctx, s, o) }

func (s *s3Store) has(ctx context.Context, key string) (bool, error) { return holds(ctx, s, key) }

func (s *s3Store) look(ctx context.Context, key string, o *object) (presence, error) {
	head, err := s.headOf(ctx, key)
	switch {
	case statusOf(err) == http.StatusForbidden:
		return unknown, nil
	case err != nil:
		return unknown, err
	case !head.there:
		return absent, nil
	case head.size == o.digest.Size && strings.EqualFold(head.etag, o.etag()):
		return same, nil
	default:
		return different, nil
	}
}

// headed is what lies under a key.
type headed struct {
	there    bool
	size     int64
	etag     string
	modified time.Time
	sealed   bool   // encrypted with KMS keys: the ETag is of no MD5
	mark     string // see markKey
}

// is reports whether this is the object of such an ETag, completed since then. Where the
// ETag cannot tell, size and time do.
func (h headed) is(size int64, etag string, since time.Time) bool {
	const skew = 5 * time.Minute
	return h.there && h.size == size && (strings.EqualFold(h.etag, etag) || (h.sealed && !h.modified.Before(since.Add(-skew))))
}

func (s *s3Store) headOf(ctx context.Context, key string) (headed, error) {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.conf.Bucket, Key: &key})
	switch {
	case err == nil:
		return headed{
			there: true, size: aws.ToInt64(head.ContentLength), etag: strings.Trim(aws.ToString(head.ETag), `"`), modified: aws.ToTime(head.LastModified),
			sealed: encryptedETag(string(head.ServerSideEncryption)), mark: head.Metadata[markKey],
		}, nil
	case statusOf(err) == http.StatusNotFound:
		return headed{}, nil
	default:
		return headed{}, s.fault(ctx, key, err)
	}
}

// etag is what S3 makes of an object that is stored without KMS keys.
func (o *object) etag() string {
	if o.digest.PartSize > 0 {
		return compositeETag(o.digest.Parts)
	}
	return o.digest.MD5
}

// send uploads and verifies. replace is false where an object that appeared in
// the meantime must survive.
func (s *s3Store) send(ctx context.Context, key string, o *object, replace bool) error {
	upload := s.putObject
	if o.digest.PartSize > 0 {
		upload = s.putParts
	}
	sent, err := upload(ctx, key, o, replace)
	if err == nil {
		err = s.verify(ctx, key, o, sent)
	}
	if err != nil && classOf(err) == corrupt {
		s.discard(ctx, o.journal.progress)
		o.journal.update(func(p *progress) {
			p.drop()
			p.Ours = sent.done
		})
	}
	return err
}

// sent is what the server said of an object it took.
type sent struct {
	done      bool
	etag      string
	encrypted bool // with KMS keys
}

func (s *s3Store) putObject(ctx context.Context, key string, o *object, replace bool) (sent, error) {
	f, err := os.Open(o.path)
	if err != nil {
		return sent{}, diskFault(err)
	}
	defer f.Close()
	in := &s3.PutObjectInput{
		Bucket: &s.conf.Bucket, Key: &key, Body: f, ContentLength: &o.digest.Size,
		ContentMD5: aws.String(contentMD5(o.digest.MD5)), ContentType: &o.contentType,
		ContentDisposition: optional(s.conf.ContentDisposition), Tagging: optional(s.conf.Tagging), Metadata: s.conf.Metadata,
		IfNoneMatch: unless(replace), IfMatch: o.match(),
	}
	conditional := in.IfNoneMatch != nil || in.IfMatch != nil
	out, err := s.client.PutObject(ctx, in)
	if err != nil && conditional && conditionUnknown(err) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return sent{}, diskFault(err)
		}
		in.IfNoneMatch, in.IfMatch = nil, nil
		out, err = s.client.PutObject(ctx, in)
	}
	if status := statusOf(err); in.IfMatch != nil && (status == http.StatusPreconditionFailed || (status == http.StatusNotFound && codeOf(err) != "NoSuchBucket")) {
		return sent{}, &fault{class: passing, text: s.location(key) + ": somebody else changed it", cause: errTaken}
	}
	if err != nil {
		return sent{}, s.fault(ctx, key, err)
	}
	return sent{true, strings.Trim(aws.ToString(out.ETag), `"`), encryptedETag(string(out.ServerSideEncryption))}, nil
}

// match is the ETag of what an object replaces.
func (o *object) match() *string {
	if o.replaces == nil || o.replaces.PartSize > 0 {
		return nil
	}
	return aws.String(`"` + o.replaces.MD5 + `"`)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func unless(replace bool) *string {
	if replace {
		return nil
	}
	return aws.String("*")
}

func (s *s3Store) remove(ctx context.Context, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.conf.Bucket, Key: &key})
	return err
}
