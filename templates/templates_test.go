package templates_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/templates"
)

// get asks the handler for a path.
func get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	templates.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(answer.Result().Body)
	require.NoError(t, err)
	return answer.Result(), string(body)
}

func TestHandlerServesThePage(t *testing.T) {
	t.Parallel()
	require.NoError(t, templates.Built())
	answer, document := get(t, "/?layout=grid&token=secret")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", answer.Header.Get("Content-Type"))
	assert.Equal(t, "no-cache", answer.Header.Get("Cache-Control"))
	assert.NotContains(t, document, "secret")

	links := regexp.MustCompile(`(?:src|href)="\./([^"]+)"`).FindAllStringSubmatch(document, -1)
	require.Len(t, links, 2, "one script and one style sheet")
	types := map[string]string{"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
	for _, link := range links {
		answer, body := get(t, "/"+link[1])
		assert.Equal(t, http.StatusOK, answer.StatusCode, link[1])
		assert.NotEmpty(t, body)
		extension := link[1][strings.LastIndex(link[1], ".")+1:]
		assert.Equal(t, types[extension], answer.Header.Get("Content-Type"), link[1])
	}
	// Nothing is fetched from elsewhere, neither by the document nor by its style sheet.
	assert.NotRegexp(t, `(src|href)="(https?:)?//`, document)
}

func TestHandlerServesNothingElse(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/assets/", "/assets", "/.gitkeep", "/web/dist/index.html", "/../templates.go", "/assets/../index.html", "//index.html", "/src/main.tsx", "/favicon.ico"} {
		answer, _ := get(t, "http://host"+path)
		assert.Equal(t, http.StatusNotFound, answer.StatusCode, path)
	}
	answer := httptest.NewRecorder()
	templates.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/", nil))
	assert.Equal(t, http.StatusMethodNotAllowed, answer.Code)
	assert.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
}

func TestHandlerAllowsOnlyWhatThePageDoes(t *testing.T) {
	t.Parallel()
	answer, document := get(t, "/")
	policy := answer.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "connect-src ws: wss: http: https:", "frame-ancestors 'none'", "base-uri 'none'"} {
		assert.Contains(t, policy, part)
	}
	assert.NotContains(t, policy, "unsafe")
	assert.NotContains(t, policy, "*")
	assert.Equal(t, strings.Count(document, "<script>")+strings.Count(document, "<style>"), strings.Count(policy, "'sha256-"))
	assert.Equal(t, "no-referrer", answer.Header.Get("Referrer-Policy"))
	assert.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
}
