package upload

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"cloud.google.com/go/storage"
	"github.com/aliyun/aliyun-oss-go-sdk/oss"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tapedeck/recorder"
)

// reader is a store that gives an object by its name; nil without an error is: nothing
// lies there.
type reader interface {
	read(ctx context.Context, name string) (io.ReadCloser, error)
}

var _, _, _, _, _ reader = (*s3Store)(nil), (*gcsStore)(nil), (*azureStore)(nil), (*ossStore)(nil), localStore{}

// readPlaylist gives the text of a playlist, "" where there is none.
func readPlaylist(ctx context.Context, st store, name string) (string, error) {
	r, ok := st.(reader)
	if !ok {
		return "", faultf(final, "%s: nothing can be read there", name)
	}
	body, err := r.read(ctx, name)
	if body == nil || err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(withContext(ctx, body), recorder.MaxPlaylist+1))
	switch {
	case err != nil:
		return "", netFault(name, err)
	case len(text) > recorder.MaxPlaylist:
		return "", faultf(final, "%s: is larger than any playlist", name)
	default:
		return string(text), nil
	}
}

func (s *s3Store) read(ctx context.Context, key string) (io.ReadCloser, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.conf.Bucket, Key: &key})
	switch {
	case statusOf(err) == http.StatusNotFound && codeOf(err) != "NoSuchBucket":
		return nil, nil
	case err != nil:
		return nil, s.fault(ctx, key, err)
	}
	return out.Body, nil
}

func (g *gcsStore) read(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := g.bucket.Object(key).NewReader(ctx)
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
		return nil, nil
	case err != nil:
		return nil, g.fault(ctx, key, err)
	}
	return body, nil
}

func (a *azureStore) read(ctx context.Context, key string) (io.ReadCloser, error) {
	out, err := a.client.NewBlobClient(key).DownloadStream(ctx, nil)
	switch {
	case azureStatus(err) == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, a.fault(ctx, key, err)
	}
	return out.Body, nil
}

func (s *ossStore) read(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := s.bucket.GetObject(key, oss.WithContext(ctx))
	switch {
	case ossStatus(err) == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, s.fault(ctx, key, err)
	}
	return body, nil
}

func (l localStore) read(_ context.Context, name string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(l.dir, filepath.FromSlash(name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, diskFault(err)
	}
	return f, nil
}
