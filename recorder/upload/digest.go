package upload

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// digest is what is known of a file's bytes.
type digest struct {
	Size     int64     `json:"size"`     // bytes
	Modified time.Time `json:"modified"` // with Size, tells whether the digest still holds
	SHA256   string    `json:"sha256"`   // hex
	MD5      string    `json:"md5,omitempty"`
	// Parts are the MD5s of the parts that PartSize gives, see partSpan.
	PartSize int64    `json:"part_size,omitempty"`
	Parts    []string `json:"parts,omitempty"`
}

// plan is which sums a store needs beside SHA-256.
type plan struct {
	md5      bool
	partSize int64 // 0 is none
}

func (d digest) holds(info os.FileInfo, p plan) bool {
	return d.SHA256 != "" && d.Size == info.Size() && d.Modified.Equal(info.ModTime()) &&
		d.PartSize == p.partSize && (d.MD5 != "" || !p.md5)
}

// measure reads the file, for each kind of sum on its own: the page cache brings
// them together, and they take no longer than the slower one.
func measure(ctx context.Context, path string, p plan) (digest, error) {
	before, err := os.Stat(path)
	if err != nil {
		return digest{}, err
	}
	d := digest{Size: before.Size(), Modified: before.ModTime(), PartSize: p.partSize}
	reading, ctx := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		d.SHA256, err = fileSHA256(ctx, path)
		return err
	})
	whole, parts := md5.New(), partSums{base: p.partSize, sum: md5.New()}
	reading.Go(func() error {
		var sums []io.Writer
		if p.md5 {
			sums = append(sums, whole)
		}
		if p.partSize > 0 {
			sums = append(sums, &parts)
		}
		if len(sums) == 0 {
			return nil
		}
		return readFile(ctx, path, io.MultiWriter(sums...))
	})
	if err := reading.Wait(); err != nil {
		return digest{}, err
	}
	after, err := os.Stat(path)
	if err != nil {
		return digest{}, err
	}
	if after.Size() != d.Size || !after.ModTime().Equal(d.Modified) {
		return digest{}, fmt.Errorf("%s is still being written", before.Name())
	}
	if p.md5 {
		d.MD5 = hex.EncodeToString(whole.Sum(nil))
	}
	d.Parts = parts.finish()
	return d, nil
}

// partSums sums the parts of what is written to it.
type partSums struct {
	base, filled int64
	sum          hash.Hash
	done         []string
}

func (p *partSums) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		_, size := partSpan(p.base, len(p.done)+1)
		take := min(int64(len(b)), size-p.filled)
		p.sum.Write(b[:take])
		p.filled += take
		b = b[take:]
		if p.filled == size {
			p.flush()
		}
	}
	return n, nil
}

func (p *partSums) flush() {
	p.done = append(p.done, hex.EncodeToString(p.sum.Sum(nil)))
	p.sum.Reset()
	p.filled = 0
}

func (p *partSums) finish() []string {
	if p.filled > 0 {
		p.flush()
	}
	return p.done
}

// compositeETag is what S3 makes of the parts' MD5s: the MD5 of them all, and
// their number.
func compositeETag(parts []string) string {
	sum := md5.New()
	for _, p := range parts {
		raw, err := hex.DecodeString(p)
		if err != nil {
			return ""
		}
		sum.Write(raw)
	}
	return fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
}

// contentMD5 turns a hex sum into the form of the Content-MD5 header.
func contentMD5(hexSum string) string {
	raw, err := hex.DecodeString(hexSum)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// isMD5 reports whether an ETag has the form of an MD5.
func isMD5(etag string) bool {
	raw, err := hex.DecodeString(etag)
	return err == nil && len(raw) == md5.Size
}

func fileSHA256(ctx context.Context, path string) (string, error) {
	sum := sha256.New()
	if err := readFile(ctx, path, sum); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func readFile(ctx context.Context, path string, into io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(into, withContext(ctx, f))
	return err
}

// withContext ends a long copy when ctx does.
func withContext(ctx context.Context, r io.Reader) io.Reader { return &contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
