package recordertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// S3 is a real S3-compatible server (versitygw) on a free loopback port, over a
// directory of the test's own. It ends with the test.
type S3 struct {
	// Endpoint is the server's URL; Bucket exists.
	Endpoint string
	Bucket   string
	// AccessKey and Secret are unlike anything else, so that a test can look for them.
	AccessKey, Secret string
	// Dir holds the buckets as directories and the objects as files.
	Dir string

	t    testing.TB
	addr string
	cmd  *exec.Cmd
}

// StartS3 builds the server once per checkout when `make tools` has not, starts
// it and makes a bucket. It returns when the server answers.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	s := &S3{Bucket: "recordings", AccessKey: "AKTESTACCESSKEY7Q", Secret: "s3cr3t-Zw4PpXk9-never-shown", Dir: t.TempDir(), t: t}
	onFreeAddr(t, func(addr string) error {
		s.addr, s.Endpoint = addr, "http://"+addr
		return s.start()
	})
	t.Cleanup(s.Kill)
	s.MakeBucket()
	return s
}

// MakeBucket makes Bucket.
func (s *S3) MakeBucket() {
	s.t.Helper()
	_, err := s.client().CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &s.Bucket})
	require.NoError(s.t, err)
}

// Restart starts the server again after Kill: same port, same objects.
func (s *S3) Restart() {
	s.t.Helper()
	require.NoError(s.t, s.start())
}

func (s *S3) start() error {
	cmd := exec.Command(tool(s.t, "versitygw", "github.com/versity/versitygw/cmd/versitygw"), "--port", s.addr, "--quiet", "posix", s.Dir)
	// Arguments can be read by every user of the machine.
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.Secret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	said := NewOutput()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := awaitListening(cmd, s.addr); err != nil {
		return fmt.Errorf("the S3 server: %w\n%s", err, said)
	}
	s.cmd = cmd
	return nil
}

// Kill ends the server as a crash would and waits until it is gone.
func (s *S3) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Upload names the bucket as a job does.
func (s *S3) Upload() *recorder.S3Upload {
	return &recorder.S3Upload{
		AccessKey: s.AccessKey, Secret: s.Secret, Region: "us-east-1",
		Endpoint: s.Endpoint, Bucket: s.Bucket, ForcePathStyle: true,
	}
}

// Get downloads an object.
func (s *S3) Get(key string) []byte {
	s.t.Helper()
	out, err := s.client().GetObject(context.Background(), &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	require.NoError(s.t, err)
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	require.NoError(s.t, err)
	return data
}

// Put stores an object, in place of another one.
func (s *S3) Put(key string, data []byte) {
	s.t.Helper()
	_, err := s.client().PutObject(context.Background(), &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: bytes.NewReader(data)})
	require.NoError(s.t, err)
}

// Find downloads an object; nil when there is none.
func (s *S3) Find(key string) []byte {
	s.t.Helper()
	out, err := s.client().GetObject(context.Background(), &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	var none *types.NoSuchKey
	if errors.As(err, &none) {
		return nil
	}
	require.NoError(s.t, err)
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	require.NoError(s.t, err)
	return data
}

// Keys lists the bucket.
func (s *S3) Keys() []string {
	s.t.Helper()
	out, err := s.client().ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &s.Bucket})
	require.NoError(s.t, err)
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, aws.ToString(o.Key))
	}
	return keys
}

// Uploads counts the multipart uploads that are neither complete nor aborted.
func (s *S3) Uploads() int {
	s.t.Helper()
	out, err := s.client().ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &s.Bucket})
	require.NoError(s.t, err)
	return len(out.Uploads)
}

// Path is where an object lies on disk.
func (s *S3) Path(key string) string { return filepath.Join(s.Dir, s.Bucket, filepath.FromSlash(key)) }

// PresignPut gives a URL that takes the object by HTTP PUT for so long. endpoint
// is Endpoint or that of a proxy before it.
func (s *S3) PresignPut(endpoint, key string, life time.Duration) string {
	s.t.Helper()
	req, err := s3.NewPresignClient(s.clientAt(endpoint)).PresignPutObject(context.Background(),
		&s3.PutObjectInput{Bucket: &s.Bucket, Key: &key}, s3.WithPresignExpires(life))
	require.NoError(s.t, err)
	return req.URL
}

// PutPart uploads a part to somebody's upload in parts.
func (s *S3) PutPart(key, upload string, number int32, data []byte) {
	_, err := s.client().UploadPart(context.Background(), &s3.UploadPartInput{
		Bucket: &s.Bucket, Key: &key, UploadId: &upload, PartNumber: &number, Body: bytes.NewReader(data),
	})
	assert.NoError(s.t, err) // wherever it is called from
}

func (s *S3) client() *s3.Client { return s.clientAt(s.Endpoint) }

func (s *S3) clientAt(endpoint string) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(s.AccessKey, s.Secret, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// tool gives a pinned server's binary: `make tools` puts it there; without it,
// the first test to need it builds it.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	root := RepoRoot(t)
	bin := filepath.Join(root, "build", "bin", name)
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(bin), 0o755))
	lock := flock.New(bin + ".lock")
	require.NoError(t, lock.Lock())
	defer lock.Close()
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	temp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", temp, pkg)
	build.Dir = filepath.Join(root, "build", "tools", name)
	out, err := build.CombinedOutput()
	require.NoError(t, err, "building %s: %s", name, out)
	require.NoError(t, os.Rename(temp, bin))
	return bin
}
