package upload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// verify asks the server what it has: the size, and the ETag where that is made
// of MD5s. An ETag that has the form and differs may be another server's idea of
// an ETag: then the object is read back, for bytes are the last word.
func (s *s3Store) verify(ctx context.Context, key string, o *object, got sent) error {
	matches := strings.EqualFold(got.etag, o.etag())
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.conf.Bucket, Key: &key})
	if statusOf(err) == http.StatusForbidden {
		if matches {
			return nil // the answer to the upload named the very bytes
		}
		f := s.fault(ctx, key, err)
		f.remedy = "the upload cannot be verified: let these keys read it as well (s3:GetObject)"
		return f
	}
	if err != nil {
		return s.fault(ctx, key, err)
	}
	if size := aws.ToInt64(head.ContentLength); size != o.digest.Size {
		return faultf(corrupt, "%s: %d of %d bytes arrived", s.location(key), size, o.digest.Size)
	}
	etag := strings.Trim(aws.ToString(head.ETag), `"`)
	form := strings.SplitN(etag, "-", 2)
	switch {
	case strings.EqualFold(etag, o.etag()):
		return nil
	case got.encrypted || encryptedETag(string(head.ServerSideEncryption)), !isMD5(form[0]):
		// No MD5 to compare: every request carried Content-MD5, and the size is right.
		return nil
	default:
		return s.readBack(ctx, key, o)
	}
}

func (s *s3Store) readBack(ctx context.Context, key string, o *object) error {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.conf.Bucket, Key: &key})
	if err != nil {
		return s.fault(ctx, key, err)
	}
	defer out.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, withContext(ctx, out.Body)); err != nil {
		return netFault(s.location(key), err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != o.digest.SHA256 {
		return faultf(corrupt, "%s: what arrived differs from what was sent", s.location(key))
	}
	return nil
}

// holdsFinalised reports whether an object is an MP4 that was finalised, as far as it may be read.
func (s *s3Store) holdsFinalised(ctx context.Context, key string, size int64) bool {
	is, err := isFinalised(readerAt(func(p []byte, at int64) (int, error) {
		out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &s.conf.Bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+int64(len(p))-1)),
		})
		if err != nil {
			return 0, err
		}
		defer out.Body.Close()
		return io.ReadFull(out.Body, p)
	}), size)
	return err == nil && is
}

// readerAt is an io.ReaderAt of a function.
type readerAt func(p []byte, at int64) (int, error)

func (r readerAt) ReadAt(p []byte, at int64) (int, error) { return r(p, at) }

// statusOf gives the HTTP status of an SDK error, 0 for none.
func statusOf(err error) int {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.HTTPStatusCode()
	}
	return 0
}

// ofRole reports whether it was not S3 that failed but the service that gives a
// role's credentials.
func ofRole(err error) bool {
	var op *smithy.OperationError
	for errors.As(err, &op) {
		if op.Service() == "STS" {
			return true
		}
		err = op.Unwrap()
	}
	return false
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// conditionUnknown: some servers know no conditional writes.
func conditionUnknown(err error) bool {
	return statusOf(err) == http.StatusNotImplemented || codeOf(err) == "NotImplemented"
}

// fault names what S3 refused. The SDK's own text is left out where there is a
// better one: it quotes URLs.
func (s *s3Store) fault(ctx context.Context, key string, err error) *fault {
	what := s.location(key)
	if s.conf.Endpoint != "" {
		what += " at " + hostOf(s.conf.Endpoint)
	}
	if ctx.Err() != nil {
		return &fault{class: passing, text: what + ": interrupted", cause: context.Cause(ctx)}
	}
	status, code := statusOf(err), codeOf(err)
	if ofRole(err) {
		f := &fault{class: httpClass(status, denied), cause: err, text: what + ": assume_role_arn: " + netText(err)}
		if code != "" {
			f.text = fmt.Sprintf("%s: assume_role_arn: %s (%s)", what, http.StatusText(status), clip(code))
		}
		f.remedy = "let the keys assume the role (sts:AssumeRole), and check its name, its trust policy and assume_role_external_id"
		return f
	}
	if status == http.StatusPreconditionFailed {
		return &fault{class: passing, text: what + ": " + errTaken.Error(), cause: errTaken}
	}
	if status == 0 && code == "" {
		f := netFault(what, err)
		if strings.Contains(err.Error(), "get identity:") || strings.Contains(err.Error(), "retrieve credentials") {
			f.class, f.remedy = denied, "no credentials were found: give access_key and secret, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
		}
		return f
	}
	f := &fault{class: httpClass(status, denied), text: what + ": " + http.StatusText(status), cause: err}
	if code != "" {
		f.text += " (" + clip(code) + ")"
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorMessage() != "" {
		f.text += ": " + clip(api.ErrorMessage())
	}
	s.explain(f, code, err)
	if f.remedy == "" {
		f.explainStatus(status, code)
	}
	return f
}

// explainStatus is for servers that say nothing S3 would: to a look at an object none can, for an answer to
// HEAD has no text, and the SDK makes a code of the status.
func (f *fault) explainStatus(status int, code string) {
	if code != "" && code != strings.ReplaceAll(http.StatusText(status), " ", "") {
		return
	}
	switch {
	case status == http.StatusBadRequest, status >= 300 && status < 400:
		f.remedy = "check the region, and that the endpoint is that of an S3 API"
	case status == http.StatusNotImplemented:
		f.class = denied
		fallthrough
	case status >= 400 && status < 500 && f.class == denied:
		f.remedy = "check that the endpoint is that of an S3 API"
	}
}

func (s *s3Store) explain(f *fault, code string, err error) {
	switch code {
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		f.remedy = "allow these keys s3:PutObject and s3:GetObject on it (and s3:PutObjectTagging with tagging)"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "XAdminUserNotFound", "AuthorizationHeaderMalformed":
		f.remedy = "check access key, secret and region"
	case "ExpiredToken", "TokenRefreshRequired":
		f.remedy = "the session token has expired: use keys that live longer than the recording and its upload"
		if s.conf.SessionToken != "" {
			f.class = final
		}
	case "NoSuchBucket":
		f.class, f.remedy = denied, "create the bucket, or correct its name, region or endpoint"
	case "PermanentRedirect", "IllegalLocationConstraintException":
		f.remedy = "set the region the bucket is in"
	case "RequestTimeTooSkewed":
		f.remedy = "set this machine's clock"
		var resp *awshttp.ResponseError
		if errors.As(err, &resp) {
			f.remedy += skew(resp.Response.Header.Get("Date"), time.Now())
		}
	case "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "InvalidDigest":
		f.class, f.remedy = corrupt, "the bytes were changed on their way"
	case "RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict":
		f.class = passing
	}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		if region := resp.Response.Header.Get("X-Amz-Bucket-Region"); region != "" && region != s.conf.Region {
			f.remedy = "the bucket is in region " + clip(region)
		}
	}
}
