package recorder

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"sort"
	"strings"
)

// StreamID names an ingest URL without giving it away: the first 8 hex digits
// of its SHA-256, prefixed.
func StreamID(rawURL string) string {
	sum := sha256.Sum256([]byte(rawURL))
	return "st_" + hex.EncodeToString(sum[:4])
}

// RedactStreamURL shows an ingest URL as LiveKit does:
// rtmp://host/app/{abc...xyz}. User info and query are hidden as a whole.
func RedactStreamURL(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return "{redacted}"
	}
	dir, key := "", strings.Trim(u.Path, "/")
	if i := strings.LastIndex(key, "/"); i >= 0 {
		dir, key = key[:i+1], key[i+1:]
	}
	if u.RawQuery != "" {
		key += "?" + u.RawQuery
	}
	return u.Scheme + "://" + u.Host + "/" + dir + "{" + shorten(key) + "}"
}

func shorten(key string) string {
	// Six of the key's characters are shown; a key that is not much longer would be given away.
	if len(key) < 12 || strings.ContainsAny(key, "?{}") {
		return "..."
	}
	return key[:3] + "..." + key[len(key)-3:]
}

// RedactURL hides user info, every query value and the fragment's own query of
// a page or upload URL: names stay, for they help a template's author.
func RedactURL(rawURL string) string {
	if rawURL == "" {
		return ""
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "{redacted}"
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	if u.RawQuery != "" {
		q := u.Query()
		for name := range q {
			q[name] = []string{"redacted"}
		}
		u.RawQuery = q.Encode()
	}
	if u.Fragment != "" && strings.ContainsAny(u.Fragment, "=") {
		u.Fragment, u.RawFragment = "redacted", ""
	}
	return u.String()
}

// Redacted gives a copy of the job that may be shown and kept.
func (j Job) Redacted() Job {
	c := j.Clone()
	c.Token = hide(c.Token)
	c.URL, c.CustomBaseURL, c.LiveKitURL = RedactURL(c.URL), RedactURL(c.CustomBaseURL), RedactURL(c.LiveKitURL)
	for i := range c.Files {
		f := &c.Files[i]
		f.UploadURL = RedactURL(f.UploadURL)
		if f.S3 != nil {
			f.S3.AccessKey, f.S3.Secret, f.S3.SessionToken = hide(f.S3.AccessKey), hide(f.S3.Secret), hide(f.S3.SessionToken)
			f.S3.Endpoint = RedactURL(f.S3.Endpoint)
		}
	}
	for i := range c.Streams {
		for k, u := range c.Streams[i].URLs {
			c.Streams[i].URLs[k] = RedactStreamURL(u)
		}
	}
	return c
}

func hide(s string) string {
	if s == "" {
		return ""
	}
	return "{redacted}"
}

// Scrubber removes the secrets of one or more jobs from any text: log lines,
// errors of C libraries, a page's console. The zero value scrubs nothing but
// what looks like a secret in a URL.
type Scrubber struct{ replacer *strings.Replacer }

// NewScrubber knows the secrets of job and any more that are given.
func NewScrubber(job Job, more ...string) Scrubber {
	pairs := map[string]string{}
	for _, s := range more {
		addSecret(pairs, s, "{redacted}")
	}
	addSecret(pairs, job.Token, "{redacted}")
	for _, raw := range []string{job.URL, job.CustomBaseURL, job.LiveKitURL} {
		addURLSecrets(pairs, raw)
	}
	for _, f := range job.Files {
		addURLSecrets(pairs, f.UploadURL)
		if f.S3 != nil {
			for _, s := range []string{f.S3.AccessKey, f.S3.Secret, f.S3.SessionToken} {
				addSecret(pairs, s, "{redacted}")
			}
		}
	}
	for _, u := range job.StreamURLs() {
		addStreamSecrets(pairs, u)
	}
	return Scrubber{replacer: replacerOf(pairs)}
}

// With gives a Scrubber that knows the secrets of an ingest URL as well.
func (s Scrubber) With(job Job, streamURLs ...string) Scrubber {
	job = job.Clone()
	job.Streams = append(job.Streams, StreamOutput{URLs: streamURLs})
	return NewScrubber(job)
}

func addStreamSecrets(pairs map[string]string, rawURL string) {
	redacted := RedactStreamURL(rawURL)
	addSecret(pairs, rawURL, redacted)
	u, err := url.Parse(rawURL)
	if err != nil {
		return
	}
	path := strings.Trim(u.Path, "/")
	key := path[strings.LastIndex(path, "/")+1:]
	addSecret(pairs, key, "{"+shorten(key)+"}")
	addURLSecrets(pairs, rawURL)
}

// addURLSecrets hides user info, query values and a fragment with values. Short
// values are left: "1" or "grid" is no secret, and hiding it would blank half a text.
func addURLSecrets(pairs map[string]string, rawURL string) {
	u, err := url.Parse(rawURL)
	if rawURL == "" || err != nil {
		return
	}
	if u.User != nil {
		addSecret(pairs, u.User.String(), "redacted")
		if p, ok := u.User.Password(); ok {
			addSecret(pairs, p, "redacted")
		}
	}
	if u.RawQuery != "" {
		addSecret(pairs, u.RawQuery, "{redacted}")
	}
	for _, values := range u.Query() {
		for _, v := range values {
			addSecret(pairs, v, "{redacted}")
		}
	}
	if strings.Contains(u.Fragment, "=") {
		addSecret(pairs, u.Fragment, "{redacted}")
	}
}

const shortestSecret = 6

func addSecret(pairs map[string]string, secret, instead string) {
	if len(secret) < shortestSecret {
		return
	}
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
		if _, known := pairs[form]; !known {
			pairs[form] = instead
		}
	}
}

func replacerOf(pairs map[string]string) *strings.Replacer {
	secrets := make([]string, 0, len(pairs))
	for s := range pairs {
		secrets = append(secrets, s)
	}
	// strings.Replacer takes the first pair that matches: longest first.
	sort.Slice(secrets, func(a, b int) bool { return len(secrets[a]) > len(secrets[b]) })
	var args []string
	for _, s := range secrets {
		args = append(args, s, pairs[s])
	}
	return strings.NewReplacer(args...)
}

// Text gives text without the secrets.
func (s Scrubber) Text(text string) string {
	if s.replacer != nil {
		text = s.replacer.Replace(text)
	}
	return ScrubText(text)
}

// Error scrubs an error's message and drops its cause, which may hold secrets.
func (s Scrubber) Error(err *Error) *Error {
	if err == nil {
		return nil
	}
	return &Error{Code: err.Code, Message: s.Text(err.Message)}
}

var (
	jsonSecret = regexp.MustCompile(`(?i)("?(?:access_?key|secret|session_?token|token|password|api_?key|authorization|stream_?key)"?\s*[:=]\s*"?)[^"\s,;&}]+`)
	urlQuery   = regexp.MustCompile(`(?i)((?:https?|wss?|rtmps?|srt)://[^\s"'?#]*\?)[^\s"'<>]*`)
	ingestKey  = regexp.MustCompile(`(?i)\b((?:rtmps?|srt)://[^\s"'/?]+/(?:[^\s"'/?]+/)*)[^\s"'/?{}]+`)
	userInfo   = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+]*://)[^\s"'/@]+@`)
)

// ScrubText hides what looks like a secret in text nobody knows the job of,
// such as an entry that could not be parsed: values named like secrets, query
// strings, stream keys and user info.
func ScrubText(text string) string {
	if !strings.ContainsAny(text, ":=") {
		return text
	}
	text = userInfo.ReplaceAllString(text, "${1}redacted@")
	text = urlQuery.ReplaceAllString(text, "${1}{redacted}")
	text = ingestKey.ReplaceAllString(text, "${1}{...}")
	return jsonSecret.ReplaceAllString(text, "${1}{redacted}")
}
