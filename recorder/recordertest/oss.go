package recordertest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tapedeck/recorder"
)

// OSS plays one bucket of Alibaba Cloud's Object Storage Service, as its API
// documentation describes it: objects whole and in parts, x-oss-forbid-overwrite,
// Content-MD5, and every request signed (version 1). No emulator of it is known.
type OSS struct {
	Endpoint, Bucket, AccessKey, Secret string
	blobs
}

// StartOSS starts it on a free loopback port; it ends with the test.
func StartOSS(t testing.TB) *OSS {
	t.Helper()
	o := &OSS{Bucket: "recordings", AccessKey: "LTAIossaccesskey", Secret: "oss-s3cr3t-never-shown"}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	o.Endpoint = srv.URL
	return o
}

// Upload names the bucket as a job does.
func (o *OSS) Upload() *recorder.AliOSSUpload {
	return &recorder.AliOSSUpload{AccessKey: o.AccessKey, Secret: o.Secret, Endpoint: o.Endpoint, Bucket: o.Bucket}
}

// ServeHTTP implements http.Handler.
func (o *OSS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, inside := strings.CutPrefix(r.URL.Path, "/"+o.Bucket+"/")
	switch {
	case r.Header.Get("Authorization") != "OSS "+o.AccessKey+":"+o.sign(r):
		ossError(w, http.StatusForbidden, "SignatureDoesNotMatch")
	case !inside:
		ossError(w, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodPut:
		o.put(w, r, key)
	case r.Method == http.MethodPost:
		o.parts(w, r, key)
	case r.Method == http.MethodHead, r.Method == http.MethodGet:
		b, there := o.find(key)
		if !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b.data)))
		w.Header().Set("ETag", b.head.Get("ETag"))
		w.Header().Set("X-Oss-Meta-Tapedeck-Sha256", b.head.Get("X-Oss-Meta-Tapedeck-Sha256"))
		_, _ = w.Write(b.data) // of which HEAD gets nothing
	case r.Method == http.MethodDelete:
		o.remove(key)
		w.WriteHeader(http.StatusNoContent)
	default:
		ossError(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (o *OSS) put(w http.ResponseWriter, r *http.Request, key string) {
	data, whole := readBody(r)
	if !whole {
		ossError(w, http.StatusBadRequest, "InvalidDigest")
		return
	}
	etag := fmt.Sprintf(`"%X"`, md5.Sum(data))
	if part := r.URL.Query().Get("partNumber"); part != "" {
		o.part(key+"/"+part, data)
	} else {
		head := r.Header.Clone()
		head.Set("ETag", etag)
		if !o.store(key, data, head, r.Header.Get("X-Oss-Forbid-Overwrite") != "true") {
			ossError(w, http.StatusConflict, "FileAlreadyExists")
			return
		}
	}
	w.Header().Set("ETag", etag)
}

func (o *OSS) parts(w http.ResponseWriter, r *http.Request, key string) {
	w.Header().Set("Content-Type", "application/xml")
	if r.URL.Query().Has("uploads") {
		o.part(key+"/sha", []byte(r.Header.Get("X-Oss-Meta-Tapedeck-Sha256")))
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>up1</UploadId></InitiateMultipartUploadResult>", o.Bucket, key)
		return
	}
	var list struct {
		Parts []struct {
			Number int `xml:"PartNumber"`
		} `xml:"Part"`
	}
	data, _ := readBody(r)
	if xml.Unmarshal(data, &list) != nil {
		ossError(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	var ids []string
	for _, p := range list.Parts {
		ids = append(ids, key+"/"+strconv.Itoa(p.Number))
	}
	all, known := o.join(ids)
	if !known {
		ossError(w, http.StatusBadRequest, "InvalidPart")
		return
	}
	sha, _ := o.join([]string{key + "/sha"})
	head := http.Header{}
	head.Set("X-Oss-Meta-Tapedeck-Sha256", string(sha))
	head.Set("ETag", fmt.Sprintf(`"0123-%d"`, len(ids)))
	if !o.store(key, all, head, r.Header.Get("X-Oss-Forbid-Overwrite") != "true") {
		ossError(w, http.StatusConflict, "FileAlreadyExists")
		return
	}
	fmt.Fprintf(w, "<CompleteMultipartUploadResult><Key>%s</Key></CompleteMultipartUploadResult>", key)
}

// sign gives the signature a request must have.
func (o *OSS) sign(r *http.Request) string {
	lines := []string{r.Method, r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), r.Header.Get("Date")}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-oss-") {
			lines = append(lines, lower+":"+r.Header.Get(name))
		}
	}
	resource, q := r.URL.Path, r.URL.Query()
	sep := "?"
	for _, name := range []string{"objectMeta", "partNumber", "uploadId", "uploads"} {
		if q.Has(name) {
			resource += sep + name
			if v := q.Get(name); v != "" {
				resource += "=" + v
			}
			sep = "&"
		}
	}
	mac := hmac.New(sha1.New, []byte(o.Secret))
	mac.Write([]byte(strings.Join(append(lines, resource), "\n")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func ossError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused</Message></Error>", code)
}
