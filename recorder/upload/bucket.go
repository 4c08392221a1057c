package upload

import (
	"context"
	"errors"
)

// bucket is a store that keeps objects under keys.
type bucket interface {
	location(key string) string
	// look tells what lies under key.
	look(ctx context.Context, key string, o *object) (presence, error)
	// send uploads and verifies. replace is false where an object that appeared in
	// the meantime must survive: then the error Is errTaken.
	send(ctx context.Context, key string, o *object, replace bool) error
	// discard is that of store.
	discard(ctx context.Context, p progress)
}

// What lies under a key.
type presence int

const (
	absent presence = iota
	same
	different
	unknown // keys that may only write
)

// errTaken says that another object got the name first.
var errTaken = errors.New("an object of that name exists")

// place stores under the first free name. What an earlier try stored whole, its
// answer lost, is found and not sent again.
func place(ctx context.Context, b bucket, o *object) (placed, error) {
	if o.exact && o.overwrite { // whatever lies there: a live playlist has no time to ask
		return placed{Location: b.location(o.name), Name: o.name}, b.send(ctx, o.name, o, true)
	}
	claimed := o.claimed()
	if claimed != "" {
		if done, next, err := o.under(ctx, b, claimed); !next {
			return done, err
		}
	}
	for n := 1; n <= o.names(); n++ {
		key := numbered(o.name, n)
		if key == claimed {
			continue
		}
		if done, next, err := o.under(ctx, b, key); !next {
			return done, err
		}
	}
	return placed{}, o.taken(b.location(o.name))
}

// claimed is the name that an earlier try chose, or "".
func (o *object) claimed() string {
	if o.exact || o.journal.Name == "" {
		return ""
	}
	for n := 1; n <= mostNames; n++ {
		if numbered(o.name, n) == o.journal.Name {
			return o.journal.Name
		}
	}
	return ""
}

// under stores under one name, or says that the next one must be tried.
func (o *object) under(ctx context.Context, b bucket, key string) (done placed, next bool, err error) {
	ours := (o.overwrite && !o.journal.Fenced) || (o.journal.Name == key && o.journal.Ours)
	done = placed{Location: b.location(key), Name: key}
	switch there, err := b.look(ctx, key, o); {
	case err != nil:
		return placed{}, false, err
	case there == same:
		return done, false, nil
	case there == different && !ours:
		return placed{}, true, nil
	}
	o.leave(ctx, b, key)
	err = b.send(ctx, key, o, ours)
	if !errors.Is(err, errTaken) {
		return done, false, err
	}
	// By ourselves, perhaps: SDKs repeat a request whose answer was lost.
	if there, lookErr := b.look(ctx, key, o); lookErr == nil && there == same {
		return done, false, nil
	}
	return placed{}, true, nil
}

// leave notes the name that is tried, and removes what was sent under another one.
func (o *object) leave(ctx context.Context, b bucket, key string) {
	var before progress
	o.journal.look(func(p progress) { before = p })
	if before.Name != "" && before.Name != key && before.UploadID != "" {
		b.discard(ctx, before)
		o.journal.update(func(p *progress) { p.drop() })
	}
	o.journal.update(func(p *progress) { p.Name = key })
}

// names is how many names an object may try.
func (o *object) names() int {
	if o.exact {
		return 1
	}
	return mostNames
}

// taken is the fault of an object that found no free name.
func (o *object) taken(where string) *fault {
	if !o.exact {
		return faultf(denied, "%s: %d files of that name exist already", where, mostNames)
	}
	return &fault{
		class: denied, cause: errTaken, text: where + ": a file of that name from another recording exists",
		remedy: "remove it, or give each recording names of its own, such as {room_name}-{time}",
	}
}

// holds is has for buckets.
func holds(ctx context.Context, b bucket, key string) (bool, error) {
	there, err := b.look(ctx, key, &object{digest: digest{Size: -1}})
	return there == same || there == different, err
}
