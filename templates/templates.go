// Package templates holds the page that rooms are recorded from when a job names
// none of its own: layouts of a LiveKit room, made from web/ by `make build`.
package templates

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"
)

// web/dist is empty but for its .gitkeep until the page is built, and go:embed
// wants one file at least.
//
//go:embed all:web/dist
var dist embed.FS

// ErrNotBuilt says that this program was compiled without the page.
var ErrNotBuilt = errors.New("the built-in room template is not in this program: run `make build`, which builds templates/web before it compiles")

const index = "index.html"

// Built gives ErrNotBuilt when there is no page to serve.
func Built() error {
	_, err := page()
	return err
}

func page() (string, error) {
	content, err := dist.ReadFile("web/dist/" + index)
	if err != nil {
		return "", ErrNotBuilt
	}
	return string(content), nil
}

// Handler serves the page at / and what it loads, and nothing else. Without a
// page, it answers 503 with the text of ErrNotBuilt.
func Handler() http.Handler {
	document, err := page()
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		})
	}
	policy := policyOf(document)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		content, ok := lookUp(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		// The address holds the token.
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, content.name, time.Time{}, strings.NewReader(content.text))
	})
}

type file struct{ name, text string }

// lookUp finds what a path of the address names. Only the document and what the
// build put beside it are there to be had.
func lookUp(address string) (file, bool) {
	name := strings.TrimPrefix(address, "/")
	if name == "" {
		name = index
	}
	if !fs.ValidPath(name) || strings.HasPrefix(path.Base(name), ".") {
		return file{}, false
	}
	content, err := dist.ReadFile("web/dist/" + name)
	return file{name: name, text: string(content)}, err == nil
}

// policyOf allows what the page does: its own files, the little the document has
// inline, and a connection to a LiveKit server anywhere.
func policyOf(document string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'" + inline(document, "script"),
		"style-src 'self'" + inline(document, "style"),
		"connect-src ws: wss: http: https:",
		"img-src 'self' data:",
		"media-src blob: data: mediastream:",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

// inline gives the hashes of a document's inline elements of one name.
func inline(document, element string) string {
	var hashes strings.Builder
	for _, found := range regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(document, -1) {
		sum := sha256.Sum256([]byte(found[1]))
		hashes.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return hashes.String()
}
