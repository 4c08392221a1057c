package recorder

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// StreamID names an ingest URL without giving it away: the first 8 hex digits
// of its SHA-256, prefixed. mux://KEY and what it stands for are one stream.
func StreamID(rawURL string) string {
	sum := sha256.Sum256([]byte(ResolveStreamURL(rawURL)))
	return "st_" + hex.EncodeToString(sum[:4])
}

// RedactStreamURL shows an ingest URL as LiveKit does:
// rtmp://host/app/{abc...xyz}. User info, query and fragment are hidden as a whole.
// mux and twitch are shown as what they stand for; all of an SRT server that is no
// secret is its address: srt://host:port?{redacted}.
func RedactStreamURL(rawURL string) string {
	u, err := url.Parse(ResolveStreamURL(rawURL))
	if err != nil || u.Host == "" {
		return hidden
	}
	if strings.EqualFold(u.Scheme, "srt") {
		return "srt://" + u.Host + "?" + hidden
	}
	// Escaped, so that a key that holds %2F stays one part.
	dir, key := "", strings.Trim(u.EscapedPath(), "/")
	if i := strings.LastIndex(key, "/"); i >= 0 {
		dir, key = key[:i+1], key[i+1:]
	}
	if u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Path, "{}") {
		key += "?" // what is shown of a key is its ends, and this one's is elsewhere
	}
	return u.Scheme + "://" + u.Host + "/" + dir + "{" + shorten(key) + "}"
}

func shorten(key string) string {
	// Six of the key's characters are shown; a key that is not much longer would be given away.
	if len(key) < 12 || strings.Contains(key, "?") {
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
	switch {
	case err != nil, u.Scheme == "" && u.Host == "":
		return hidden // not a URL, and then anything
	case u.Opaque != "":
		return schemeOf(u)
	case slices.Contains([]string{"rtmp", "rtmps", "srt", "mux", "twitch"}, u.Scheme):
		return RedactStreamURL(rawURL)
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	u.RawQuery = redactQuery(u.RawQuery)
	if u.Fragment != "" && strings.ContainsAny(u.Fragment, "=") {
		u.Fragment, u.RawFragment = "redacted", ""
	}
	return u.String()
}

// redactQuery keeps the names, in their order. A query without names may be one secret.
func redactQuery(raw string) string {
	if raw == "" {
		return ""
	}
	parts := strings.Split(raw, "&")
	for i, part := range parts {
		name, _, named := strings.Cut(part, "=")
		if named {
			parts[i] = name + "=redacted"
		} else if part != "" {
			parts[i] = "redacted"
		}
	}
	return strings.Join(parts, "&")
}

// Redacted gives a copy of the job that may be shown and kept.
func (j Job) Redacted() Job {
	c := j.Clone()
	c.Token = hide(c.Token)
	c.URL, c.CustomBaseURL, c.LiveKitURL = RedactURL(c.URL), RedactURL(c.CustomBaseURL), RedactURL(c.LiveKitURL)
	for i := range c.Files {
		f := &c.Files[i]
		f.UploadURL = RedactURL(f.UploadURL)
		f.redact()
	}
	for i := range c.Segments {
		c.Segments[i].redact()
	}
	for i := range c.Images {
		c.Images[i].redact()
	}
	if c.Backup != nil {
		c.Backup.redact()
	}
	for i := range c.Webhooks {
		c.Webhooks[i].URL = RedactWebhook(c.Webhooks[i].URL)
	}
	for i := range c.Streams {
		for k, u := range c.Streams[i].URLs {
			c.Streams[i].URLs[k] = RedactStreamURL(u)
		}
	}
	return c
}

// RedactWebhook shows the scheme and host of a webhook alone: with many services the path is the secret.
func RedactWebhook(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return hidden
	}
	return u.Scheme + "://" + u.Host + "/" + hidden
}

func hide(s string) string {
	if s == "" {
		return ""
	}
	return hidden
}

// Scrubber removes the secrets of one or more jobs from any text: log lines,
// errors of C libraries, a page's console. The zero value scrubs nothing but
// what looks like a secret.
type Scrubber struct {
	pairs    map[string]string // a secret's spellings and what stands in; never changed
	replacer *strings.Replacer
}

// NewScrubber knows the secrets of job and any more that are given.
func NewScrubber(job Job, more ...string) Scrubber {
	return Scrubber{}.with(job, more)
}

// Scrubber knows the secrets of the task: the job's and the pass's.
func (t Task) Scrubber() Scrubber {
	return NewScrubber(t.Job, t.Pass.Token, t.Pass.AdminToken)
}

// With gives a Scrubber that knows the secrets of job and of ingest URLs as well.
func (s Scrubber) With(job Job, streamURLs ...string) Scrubber {
	job = job.Clone()
	job.Streams = append(job.Streams, StreamOutput{URLs: streamURLs})
	return s.with(job, nil)
}

func (s Scrubber) with(job Job, more []string) Scrubber {
	pairs := maps.Clone(s.pairs)
	if pairs == nil {
		pairs = map[string]string{}
	}
	for _, s := range more {
		addSecret(pairs, s, hidden)
	}
	addSecret(pairs, job.Token, hidden)
	for _, raw := range []string{job.URL, job.CustomBaseURL, job.LiveKitURL} {
		addURLSecrets(pairs, raw)
	}
	for _, f := range job.Files {
		addURLSecrets(pairs, f.UploadURL)
	}
	for _, s := range job.storages() {
		s.addSecrets(pairs)
	}
	for _, h := range job.Webhooks {
		addSecret(pairs, h.URL, RedactWebhook(h.URL))
		addURLSecrets(pairs, h.URL)
	}
	for _, u := range job.StreamURLs() {
		addStreamSecrets(pairs, u)
	}
	return Scrubber{pairs: pairs, replacer: replacerOf(pairs)}
}

func addStreamSecrets(pairs map[string]string, rawURL string) {
	addSecret(pairs, rawURL, RedactStreamURL(rawURL))
	rawURL = ResolveStreamURL(rawURL)
	addSecret(pairs, rawURL, RedactStreamURL(rawURL))
	u, err := url.Parse(rawURL)
	if err != nil {
		return
	}
	path := strings.Trim(u.EscapedPath(), "/")
	key := path[strings.LastIndex(path, "/")+1:]
	addSecret(pairs, key, "{"+shorten(key)+"}")
	if plain, err := url.PathUnescape(key); err == nil {
		addSecret(pairs, plain, "{"+shorten(key)+"}")
	}
	addSecret(pairs, u.Fragment, hidden)
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
	addSecret(pairs, u.RawQuery, hidden)
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, named := strings.Cut(part, "=")
		if !named {
			value = name
		}
		addSecret(pairs, value, hidden) // as its owner spelled it
		if plain, err := url.QueryUnescape(value); err == nil {
			addSecret(pairs, plain, hidden)
		}
	}
	if strings.Contains(u.Fragment, "=") {
		addSecret(pairs, u.Fragment, hidden)
		addSecret(pairs, u.EscapedFragment(), hidden)
	}
}

const (
	shortestSecret = 6
	hidden         = "{redacted}"
)

func addSecret(pairs map[string]string, secret, instead string) {
	if len(secret) < shortestSecret {
		return
	}
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), jsonForm(secret)} {
		if _, known := pairs[form]; !known {
			pairs[form] = instead
		}
	}
}

// jsonForm is how a secret looks inside a JSON text.
func jsonForm(secret string) string {
	text, err := json.Marshal(secret)
	if err != nil {
		return secret
	}
	return strings.Trim(string(text), `"`)
}

func replacerOf(pairs map[string]string) *strings.Replacer {
	// strings.Replacer takes the first pair that matches: longest first.
	secrets := slices.SortedFunc(maps.Keys(pairs), func(a, b string) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a, b))
	})
	var args []string
	for _, s := range secrets {
		args = append(args, s, pairs[s])
	}
	return strings.NewReplacer(args...)
}

// Text gives text without the secrets. Scrubbing twice is as good as once.
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
	// A name, then its value: quoted, quoted within a quoted text, or bare.
	namedSecret = regexp.MustCompile(`(?i)((?:access_?key|secret|session_?token|token|passw(?:or)?d|api_?key|authorization|` +
		`stream_?key|signature|credential)[\w-]*\\*["']?\s*[:=]\s*)` +
		`("(?:[^"\\]|\\.)*"?|'[^']*'?|\\+"[^"\\]*|(?:(?:bearer|basic)\s+)?[^"'\s,;&}\]\\]+)`)
	urlQuery  = regexp.MustCompile(`(?i)((?:https?|wss?|rtmps?|srt|mux|twitch)://[^\s"'?#<>]*\?)[^\s"'<>]*`)
	urlHash   = regexp.MustCompile(`(?i)((?:https?|wss?)://[^\s"'?#<>]*(?:\?{redacted})?#)[^\s"'<>]*=[^\s"'<>]*`)
	ingestURL = regexp.MustCompile(`(?i)\b((?:rtmps?|srt)://[^\s"'/?<>]+/)([^\s"'?<>]+)`)
	shortForm = regexp.MustCompile(`(?i)\b((?:mux|twitch)://)[^\s"'{][^\s"'<>]*`)
	userInfo  = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+]*://)[^\s"'/?#<>]+@`)
	jwt       = regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?`)
)

// ScrubText hides what looks like a secret in text nobody knows the job of,
// such as an entry that could not be parsed: values named like secrets, query
// strings, stream keys, JWTs and user info.
func ScrubText(text string) string {
	if strings.Contains(text, "eyJ") {
		text = jwt.ReplaceAllString(text, hidden)
	}
	if !strings.ContainsAny(text, ":=") {
		return text
	}
	text = shortForm.ReplaceAllString(text, "${1}"+hidden)
	text = userInfo.ReplaceAllString(text, "${1}redacted@")
	text = urlQuery.ReplaceAllString(text, "${1}"+hidden)
	text = urlHash.ReplaceAllString(text, "${1}"+hidden)
	text = replaceValue(ingestURL, text, hideKey)
	return replaceValue(namedSecret, text, hideValue)
}

// replaceValue replaces the second group of every match.
func replaceValue(re *regexp.Regexp, text string, instead func(string) string) string {
	var b strings.Builder
	end := 0
	for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[end:m[4]])
		b.WriteString(instead(text[m[4]:m[5]]))
		end = m[5]
	}
	b.WriteString(text[end:])
	return b.String()
}

// hideKey hides the last part of an ingest URL's path unless that was done.
func hideKey(path string) string {
	dir, key := "", strings.TrimRight(path, "/")
	if i := strings.LastIndex(key, "/"); i >= 0 {
		dir, key = key[:i+1], key[i+1:]
	}
	if key == "" || strings.HasPrefix(key, "{") {
		return path
	}
	return dir + "{...}"
}

// hideValue keeps the quotes around a value, so that what was JSON stays it.
func hideValue(value string) string {
	inner := strings.TrimLeft(value, `\"'`)
	open := strings.TrimSuffix(value, inner)
	if strings.HasPrefix(inner, strings.TrimSuffix(hidden, "}")) || inner == "" {
		return value
	}
	if open != "" && open[0] != '\\' && strings.HasSuffix(inner, open[:1]) {
		return open[:1] + hidden + open[:1]
	}
	return open + hidden
}
