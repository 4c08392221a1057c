package recordertest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// blobs is what the storages that are played here keep, by name.
type blobs struct {
	mu      sync.Mutex
	objects map[string]blob
	parts   map[string][]byte
}

type blob struct {
	data []byte
	head http.Header // as stored with it
}

// read gives a request's body when it is what its Content-MD5 says.
func readBody(r *http.Request) ([]byte, bool) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, false
	}
	said := r.Header.Get("Content-MD5")
	return data, said == "" || said == sumOf(data)
}

func sumOf(data []byte) string {
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// store keeps an object; false when there is one that may not be replaced.
func (b *blobs) store(name string, data []byte, head http.Header, replace bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.objects[name]; there && !replace {
		return false
	}
	if b.objects == nil {
		b.objects = map[string]blob{}
	}
	b.objects[name] = blob{data, head}
	return true
}

func (b *blobs) find(name string) (blob, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, there := b.objects[name]
	return o, there
}

func (b *blobs) remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, name)
}

func (b *blobs) part(id string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts == nil {
		b.parts = map[string][]byte{}
	}
	b.parts[id] = data
}

// join gives the parts in this order; false when one is missing.
func (b *blobs) join(ids []string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all bytes.Buffer
	for _, id := range ids {
		data, there := b.parts[id]
		if !there {
			return nil, false
		}
		all.Write(data)
	}
	return all.Bytes(), true
}

// Get gives an object's bytes; nil when there is none.
func (b *blobs) Get(name string) []byte {
	o, _ := b.find(name)
	return o.data
}

// Put stores an object, in place of another one.
func (b *blobs) Put(name string, data []byte) { b.store(name, data, http.Header{}, true) }

// Names lists the objects.
func (b *blobs) Names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}
