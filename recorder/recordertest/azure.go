package recordertest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// Azure plays one container of Azure Blob Storage, as its REST documentation
// describes it: block blobs, If-None-Match, Content-MD5, and every request signed
// with the account's key (Shared Key). Microsoft's own emulator is a program of
// hundreds of npm packages.
type Azure struct {
	Account, Key, Container string
	blobs
	url *url.URL
}

// StartAzure starts it on a free loopback port; it ends with the test.
func StartAzure(t testing.TB) *Azure {
	t.Helper()
	a := &Azure{Account: "tapedecktest", Key: base64.StdEncoding.EncodeToString([]byte("azure-s3cr3t-never-shown")), Container: "recordings"}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	var err error
	a.url, err = url.Parse(srv.URL)
	require.NoError(t, err)
	return a
}

// Upload names the container as a job does.
func (a *Azure) Upload() *recorder.AzureBlobUpload {
	return &recorder.AzureBlobUpload{AccountName: a.Account, AccountKey: a.Key, ContainerName: a.Container}
}

// Client reaches the account's host name here.
func (a *Azure) Client() *http.Client { return &http.Client{Transport: a} }

// RoundTrip implements http.RoundTripper.
func (a *Azure) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = r.URL.Host // what is signed
	r.URL.Scheme, r.URL.Host = a.url.Scheme, a.url.Host
	return http.DefaultTransport.RoundTrip(r)
}

// ServeHTTP implements http.Handler.
func (a *Azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, inside := strings.CutPrefix(r.URL.Path, "/"+a.Container+"/")
	q := r.URL.Query()
	switch {
	case r.Host != a.Account+".blob.core.windows.net" || r.Header.Get("Authorization") != "SharedKey "+a.Account+":"+a.sign(r):
		azureError(w, http.StatusForbidden, "AuthenticationFailed")
	case !inside:
		azureError(w, http.StatusNotFound, "ContainerNotFound")
	case r.Method == http.MethodPut:
		a.put(w, r, name, q)
	case r.Method == http.MethodHead, r.Method == http.MethodGet:
		o, there := a.find(name)
		if !there {
			azureError(w, http.StatusNotFound, "BlobNotFound")
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		w.Header().Set("Content-Type", o.head.Get("X-Ms-Blob-Content-Type"))
		w.Header().Set("Content-MD5", o.head.Get("X-Ms-Blob-Content-Md5"))
		_, _ = w.Write(o.data) // of which HEAD gets nothing
	case r.Method == http.MethodDelete:
		a.remove(name)
		w.WriteHeader(http.StatusAccepted)
	default:
		azureError(w, http.StatusMethodNotAllowed, "UnsupportedHttpVerb")
	}
}

func (a *Azure) put(w http.ResponseWriter, r *http.Request, name string, q url.Values) {
	data, whole := readBody(r)
	if !whole {
		azureError(w, http.StatusBadRequest, "Md5Mismatch")
		return
	}
	switch q.Get("comp") {
	case "block":
		a.part(name+"/"+q.Get("blockid"), data)
		w.WriteHeader(http.StatusCreated)
		return
	case "blocklist":
		var list struct {
			Latest []string `xml:"Latest"`
		}
		if xml.Unmarshal(data, &list) != nil {
			azureError(w, http.StatusBadRequest, "InvalidXmlDocument")
			return
		}
		for i, id := range list.Latest {
			list.Latest[i] = name + "/" + id
		}
		var known bool
		if data, known = a.join(list.Latest); !known {
			azureError(w, http.StatusBadRequest, "InvalidBlockList")
			return
		}
	default:
		if r.Header.Get("X-Ms-Blob-Type") != "BlockBlob" {
			azureError(w, http.StatusBadRequest, "InvalidHeaderValue")
			return
		}
	}
	if !a.store(name, data, r.Header.Clone(), r.Header.Get("If-None-Match") != "*") {
		azureError(w, http.StatusConflict, "BlobAlreadyExists")
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// sign gives the signature a request must have.
func (a *Azure) sign(r *http.Request) string {
	length := ""
	if r.ContentLength > 0 {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	h := r.Header
	lines := []string{
		r.Method, h.Get("Content-Encoding"), h.Get("Content-Language"), length, h.Get("Content-MD5"), h.Get("Content-Type"), h.Get("Date"),
		h.Get("If-Modified-Since"), h.Get("If-Match"), h.Get("If-None-Match"), h.Get("If-Unmodified-Since"), h.Get("Range"),
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			lines = append(lines, lower+":"+h.Get(name))
		}
	}
	lines = append(lines, "/"+a.Account+r.URL.EscapedPath())
	q := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(q)) {
		lines = append(lines, strings.ToLower(name)+":"+strings.Join(q[name], ","))
	}
	key, err := base64.StdEncoding.DecodeString(a.Key)
	if err != nil {
		return ""
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func azureError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Ms-Error-Code", code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused</Message></Error>", code)
}
