package upload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"
)

const (
	// courtesy bounds what is done for the sake of order only.
	courtesy = 5 * time.Second
	// firstAnswer bounds the first requests of a recording: who starts one wants to
	// know soon whether its storage takes it.
	firstAnswer = 15 * time.Second
	lastAnswer  = time.Second
)

// begin begins the upload. It is also how a storage that refuses is found out at
// the start of a recording; one whose files leave at the end is asked otherwise.
func (g *growth) begin(ctx context.Context) error {
	// A recording that ends at once must not leave an upload nobody knows of: what is
	// asked already gets a moment for its answer.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstAnswer)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		sleep(bounded, lastAnswer)
		cancel()
	})()
	err := g.beginWithin(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return &fault{
			class: passing, text: fmt.Sprintf("%s: no answer within %s", g.destination(), firstAnswer),
			remedy: "check the address, routes and firewalls", cause: err,
		}
	}
	return err
}

func (g *growth) destination() string {
	if where := g.route.where(g.j.Backup); where != (Storage{}) {
		return where.String()
	}
	return hostOf(g.route.uploadURL)
}

func (g *growth) beginWithin(ctx context.Context) error {
	st, err := g.route.open(ctx, g.entry.spool.opts, g.j.Backup)
	if err != nil {
		return err
	}
	where, name := g.route.where(g.j.Backup), g.file.Filename
	if where != (Storage{}) {
		if name, err = where.name(name); err != nil {
			return err
		}
	}
	bucket, ok := st.(*s3Store)
	if !ok || g.scan == nil {
		if err := probe(ctx, st, name); err != nil {
			return err
		}
		g.over = true
		return nil
	}
	mark := rand.Text()[:16]
	key, id, err := bucket.claim(ctx, name, contentType(g.media), mark, where.Overwrite)
	if err != nil {
		return err
	}
	since := time.Now()
	g.j.update(func(p *progress) {
		*p = progress{
			Target: st.target(), Name: key, UploadID: id, Backup: p.Backup, Why: p.Why, Grown: &grown{PartSize: g.size},
		}
	})
	g.store = bucket
	g.note = fileNote{
		Target: st.target(), Backup: g.j.Backup, Key: key, UploadID: id, Mark: mark, PartSize: g.size, StartedAt: since.UnixNano(),
		Filename: filenameOf(where, key, name, g.file.Filename),
	}
	g.notes.begun(g.note)
	return nil
}

// claim begins an upload under the first name that is free and that nobody else
// uploads to. Who comes later moves on; should two miss each other, the storage
// refuses one of them when it ends.
func (s *s3Store) claim(ctx context.Context, name, contentType, mark string, overwrite bool) (key, id string, err error) {
	for n := 1; n <= mostNames; n++ {
		key = numbered(name, n)
		if !overwrite {
			if taken, err := s.has(ctx, key); err != nil || taken {
				if err != nil {
					return "", "", err
				}
				continue
			}
		}
		if id, err = s.create(ctx, key, contentType, mark); err != nil || overwrite || !s.rivalled(ctx, key, id) {
			return key, id, err
		}
		s.discard(ctx, progress{Name: key, UploadID: id})
	}
	return "", "", faultf(denied, "%s: %d files of that name exist already", s.location(name), mostNames)
}

// rivalled reports whether an older upload to the key is under way. Keys that may
// not know see none.
func (s *s3Store) rivalled(ctx context.Context, key, id string) bool {
	const stale = 48 * time.Hour // nobody will complete it
	out, err := s.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.conf.Bucket, Prefix: &key})
	if err != nil {
		return false
	}
	ours := time.Now()
	for _, u := range out.Uploads {
		if aws.ToString(u.UploadId) == id && u.Initiated != nil {
			ours = *u.Initiated
		}
	}
	for _, u := range out.Uploads {
		other, at := aws.ToString(u.UploadId), aws.ToTime(u.Initiated)
		if aws.ToString(u.Key) != key || other == id || ours.Sub(at) > stale {
			continue
		}
		if at.Before(ours) || (at.Equal(ours) && other < id) {
			return true
		}
	}
	return false
}

// probe asks, without leaving anything, whether a storage would take a file at the
// end of its recording.
func probe(ctx context.Context, st store, name string) error {
	switch st := st.(type) {
	case *putStore:
		if st.expired(time.Now()) {
			return &fault{class: final, text: st.shown + ": the URL has expired", remedy: "sign it for longer than the recording and its upload can take"}
		}
		return nil
	case localStore:
		return diskFault(writable(filepath.Dir(filepath.Join(st.dir, filepath.FromSlash(name)))))
	case *s3Store:
		id, err := st.create(ctx, name, contentType(name), "")
		if err == nil {
			st.discard(ctx, progress{Name: name, UploadID: id})
		}
		return err
	default:
		_, err := st.has(ctx, name)
		return err
	}
}

// writable looks at the directory, or at the one in which it will be made.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err == nil && !info.IsDir() {
			err = &os.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		if err == nil {
			if denied := unix.Access(dir, unix.W_OK|unix.X_OK); denied != nil {
				err = &os.PathError{Op: "write in", Path: dir, Err: denied}
			}
		}
		return err
	}
}
