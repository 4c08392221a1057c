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
)

// digest is what is known of a file's bytes.
type digest struct {
	Size     int64     `json:"size"`     // bytes
	Modified time.Time `json:"modified"` // with Size, tells whether the digest still holds
	SHA256   string    `json:"sha256"`   // hex
	MD5      string    `json:"md5,omitempty"`
	// Parts are the MD5s of parts of PartSize bytes, the last one shorter.
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

// measure reads the file once.
func measure(ctx context.Context, path string, p plan) (digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return digest{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return digest{}, err
	}
	d := digest{Size: before.Size(), Modified: before.ModTime(), PartSize: p.partSize}
	sha, whole := sha256.New(), md5.New()
	var sums []io.Writer
	sums = append(sums, sha)
	if p.md5 {
		sums = append(sums, whole)
	}
	var parts partSums
	if p.partSize > 0 {
		parts = partSums{size: p.partSize, sum: md5.New()}
		sums = append(sums, &parts)
	}
	n, err := io.Copy(io.MultiWriter(sums...), withContext(ctx, f))
	if err != nil {
		return digest{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return digest{}, err
	}
	if n != d.Size || after.Size() != d.Size || !after.ModTime().Equal(d.Modified) {
		return digest{}, fmt.Errorf("%s is still being written", before.Name())
	}
	d.SHA256 = hex.EncodeToString(sha.Sum(nil))
	if p.md5 {
		d.MD5 = hex.EncodeToString(whole.Sum(nil))
	}
	d.Parts = parts.finish()
	return d, nil
}

// partSums sums parts of equal size of what is written to it.
type partSums struct {
	size, filled int64
	sum          hash.Hash
	done         []string
}

func (p *partSums) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		take := min(int64(len(b)), p.size-p.filled)
		p.sum.Write(b[:take])
		p.filled += take
		b = b[take:]
		if p.filled == p.size {
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
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, withContext(ctx, f)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
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
