package upload

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tapedeck/recorder"
)

// checkName is one name for all checks, so that keys which may not delete leave
// one small object and no heap of them.
const checkName = ".tapedeck-check"

// Check writes a few bytes to a storage and removes them. Its error says what is
// wrong and what mends it, and holds no secret. Bound it with ctx: a machine
// without keys may ask for a role's for some seconds.
func Check(ctx context.Context, s Storage) error {
	if err := s.validate(); err != nil {
		return err
	}
	var err error
	switch {
	case s.S3 != nil:
		err = checkS3(ctx, s)
	case s.Directory != "":
		err = diskFault(checkDir(s.Directory))
	default:
		return recorder.Errorf(recorder.CodeInvalid, "storage: neither a directory nor a bucket is given")
	}
	if err == nil {
		return nil
	}
	scrub := recorder.NewScrubber(recorder.Job{Files: []recorder.FileOutput{{Storage: recorder.Storage{S3: s.S3}}}})
	return &recorder.Error{Code: recorder.CodeUpload, Message: scrub.Text(err.Error())}
}

func checkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, checkName+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the write is what counts
	if _, err := f.Write(checkText()); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func checkS3(ctx context.Context, where Storage) error {
	key, err := where.name(checkName)
	if err != nil {
		return err
	}
	st, err := newS3Store(ctx, Options{Backoff: Backoff{Min: time.Millisecond, Max: 200 * time.Millisecond}}.withDefaults(), *where.S3)
	if err != nil {
		return err
	}
	sum := md5.Sum(checkText())
	_, err = st.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &st.conf.Bucket, Key: &key, Body: bytes.NewReader(checkText()),
		ContentType: aws.String("text/plain"), ContentMD5: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		Tagging: optional(st.conf.Tagging), Metadata: st.conf.Metadata, ContentDisposition: optional(st.conf.ContentDisposition),
	})
	if err != nil {
		return st.fault(ctx, key, err)
	}
	// Keys that may write but not delete are a good habit, not an error.
	_, _ = st.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &st.conf.Bucket, Key: &key})
	return nil
}

func checkText() []byte { return []byte("written by tapedeck to see whether it can\n") }
