package upload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"tapedeck/recorder"
)

// Sizes of multipart uploads. S3 allows parts of 5 MiB to 5 GiB, 10,000 at most.
const (
	mib          = int64(1) << 20
	multipartMin = 16 * mib // smaller files go in one request
	partMin      = 8 * mib
	partsMost    = 9_500
	partsAtOnce  = 4
)

// s3Store is a bucket.
type s3Store struct {
	conf   recorder.S3Upload
	client *s3.Client
}

// newS3Store opens no connection; only the SDK's own chain may ask for keys.
func newS3Store(ctx context.Context, opts Options, conf recorder.S3Upload) (*s3Store, error) {
	if err := validateS3(conf); err != nil {
		return nil, &fault{class: final, text: err.Error(), cause: err}
	}
	cfg, err := awsConfig(ctx, opts, conf)
	if err != nil {
		return nil, &fault{class: denied, text: "s3: " + netText(err), cause: err}
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if conf.Endpoint != "" {
			o.BaseEndpoint = aws.String(endpointURL(conf.Endpoint))
		}
		o.UsePathStyle = conf.ForcePathStyle
		// The SDK's checksum trailers are unknown to many S3-compatible servers.
		// Content-MD5 and ETags are known to all.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = retry.NewStandard(func(so *retry.StandardOptions) {
			so.MaxAttempts, so.MaxBackoff = 3, min(5*time.Second, opts.Backoff.Max)
		})
	})
	return &s3Store{conf: conf, client: client}, nil
}

// awsConfig: a job's own keys are used with nothing from this machine's
// environment; without keys the SDK's chain looks for the worker's.
func awsConfig(ctx context.Context, opts Options, conf recorder.S3Upload) (aws.Config, error) {
	var client aws.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { opts.tune(t) })
	if opts.HTTPClient != nil {
		client = opts.HTTPClient
	}
	if conf.AccessKey != "" {
		return aws.Config{
			Region: regionOf(conf, ""), HTTPClient: client, Logger: logging.Nop{},
			Credentials: credentials.NewStaticCredentialsProvider(conf.AccessKey, conf.Secret, conf.SessionToken),
		}, nil
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithLogger(logging.Nop{}))
	cfg.Region = regionOf(conf, cfg.Region)
	return cfg, err
}

// regionOf: servers other than AWS mostly take any, and us-east-1 always.
func regionOf(conf recorder.S3Upload, fallback string) string {
	switch {
	case conf.Region != "":
		return conf.Region
	case fallback != "" && conf.Endpoint == "":
		return fallback
	default:
		return "us-east-1"
	}
}

func endpointURL(endpoint string) string {
	if !strings.Contains(endpoint, "://") {
		return "https://" + endpoint
	}
	return endpoint
}

// validateS3 finds what S3 would refuse after the whole upload.
func validateS3(conf recorder.S3Upload) error {
	switch {
	case conf.Bucket == "":
		return recorder.Errorf(recorder.CodeInvalid, "s3.bucket: none is given")
	case strings.ContainsAny(conf.Bucket, "/ ?#"):
		return recorder.Errorf(recorder.CodeInvalid, "s3.bucket %q: must be a bucket's bare name", conf.Bucket)
	case (conf.AccessKey == "") != (conf.Secret == ""):
		return recorder.Errorf(recorder.CodeInvalid, "s3: access_key and secret go together: give both, or none to use the worker's own")
	case !headerValue(conf.ContentDisposition):
		return recorder.Errorf(recorder.CodeInvalid, "s3.content_disposition: must be one line")
	}
	if conf.Endpoint != "" {
		u, err := url.Parse(endpointURL(conf.Endpoint))
		if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
			return recorder.Errorf(recorder.CodeInvalid, "s3.endpoint %q: must be an http or https URL without user info", recorder.RedactURL(conf.Endpoint))
		}
	}
	for k, v := range conf.Metadata {
		if !headerName.MatchString(k) || !headerValue(v) {
			return recorder.Errorf(recorder.CodeInvalid, "s3.metadata[%q]: names and values must be fit for an HTTP header", k)
		}
	}
	return validateTagging(conf.Tagging)
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// headerValue: what S3 signs and gives back unchanged is printable ASCII.
func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func validateTagging(tagging string) error {
	const most, longestKey, longestValue = 10, 128, 256
	tags, err := url.ParseQuery(tagging)
	if err != nil || len(tags) > most {
		return recorder.Errorf(recorder.CodeInvalid, "s3.tagging: must be at most %d tags as key=value&key2=value2, percent-encoded", most)
	}
	for k, v := range tags {
		if k == "" || len(v) != 1 || len([]rune(k)) > longestKey || len([]rune(v[0])) > longestValue {
			return recorder.Errorf(recorder.CodeInvalid, "s3.tagging %q: a key has 1 to %d characters, a value up to %d, and no key comes twice", k, longestKey, longestValue)
		}
		if !tagText.MatchString(k + v[0]) {
			return recorder.Errorf(recorder.CodeInvalid, "s3.tagging %q: keys and values may hold letters, digits, spaces and + - = . _ : / @", k)
		}
	}
	return nil
}

var tagText = regexp.MustCompile(`^[\p{L}\p{N}\p{Z}+=._:/@-]*$`)

func (s *s3Store) target() string {
	return "s3:" + s.conf.Endpoint + "/" + s.conf.Region + "/" + s.conf.Bucket
}

func (s *s3Store) plan(size int64) plan {
	if size < multipartMin {
		return plan{md5: true}
	}
	part := (size + partsMost - 1) / partsMost
	part = (part + mib - 1) / mib * mib
	return plan{partSize: max(part, partMin)}
}

func (s *s3Store) location(key string) string { return "s3://" + s.conf.Bucket + "/" + key }

// errTaken says that another object got the name first.
var errTaken = errors.New("an object of that name exists")

// put stores under the first free name. What an earlier try stored whole, its
// answer lost, is found and not sent again.
func (s *s3Store) put(ctx context.Context, o *object) (placed, error) {
	for n := 1; n <= mostNames; n++ {
		key := numbered(o.name, n)
		ours := o.overwrite || (o.journal.Name == key && o.journal.Ours)
		switch there, err := s.look(ctx, key, o); {
		case err != nil:
			return placed{}, err
		case there == same:
			return placed{s.location(key), key, ""}, nil
		case there == different && !ours:
			continue
		}
		o.journal.update(func(p *progress) { p.Name = key })
		err := s.send(ctx, key, o, ours)
		if errors.Is(err, errTaken) {
			// By ourselves, perhaps: the SDK repeats a request whose answer was lost.
			if there, lookErr := s.look(ctx, key, o); lookErr == nil && there == same {
				return placed{s.location(key), key, ""}, nil
			}
			continue
		}
		return placed{s.location(key), key, ""}, err
	}
	return placed{}, faultf(denied, "%s: %d objects of that name exist already", s.location(o.name), mostNames)
}

// What lies under a key.
type presence int

const (
	absent presence = iota
	same
	different
	unknown // keys that may only write
)

func (s *s3Store) look(ctx context.Context, key string, o *object) (presence, error) {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.conf.Bucket, Key: &key})
	switch status := statusOf(err); {
	case err == nil:
	case status == http.StatusNotFound:
		return absent, nil
	case status == http.StatusForbidden:
		return unknown, nil
	default:
		return unknown, s.fault(ctx, key, err)
	}
	etag := strings.Trim(aws.ToString(head.ETag), `"`)
	if aws.ToInt64(head.ContentLength) == o.digest.Size && strings.EqualFold(etag, o.etag()) {
		return same, nil
	}
	return different, nil
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
		o.journal.update(func(p *progress) { p.Ours, p.UploadID, p.Parts = sent.done, "", nil })
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
		IfNoneMatch: unless(replace),
	}
	out, err := s.client.PutObject(ctx, in)
	if err != nil && !replace && conditionUnknown(err) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return sent{}, diskFault(err)
		}
		in.IfNoneMatch = nil
		out, err = s.client.PutObject(ctx, in)
	}
	if err != nil {
		return sent{}, s.fault(ctx, key, err)
	}
	return sent{true, strings.Trim(aws.ToString(out.ETag), `"`), encryptedETag(string(out.ServerSideEncryption))}, nil
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
