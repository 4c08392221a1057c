package recorder

import (
	"net/url"
	"slices"
	"strings"
)

// Where the short forms lead. Twitch's is the address that finds the nearest of its
// servers by itself.
const (
	muxIngest    = "rtmps://global-live.mux.com:443/app/"
	twitchIngest = "rtmps://ingest.global-contribute.live-video.net:443/app/"
)

// ResolveStreamURL gives the ingest URL that mux://KEY and twitch://KEY stand for;
// every other URL as it is.
func ResolveStreamURL(rawURL string) string {
	scheme, key, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL
	}
	switch strings.ToLower(scheme) {
	case "mux":
		return muxIngest + key
	case "twitch":
		return twitchIngest + key
	default:
		return rawURL
	}
}

// Written so that no scrubber takes it for a URL with a key in it.
const streamForms = "rtmp:// or rtmps:// with host, application and key, srt:// with host and port, mux:// or twitch:// with the key alone"

func validateStreamURL(f *Faults, field, raw string) {
	u, err := url.Parse(raw)
	switch {
	case len(raw) > longestURL:
		f.add(field, "{redacted}", "is longer than %d bytes: shorten it", longestURL)
		return
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		f.add(field, RedactStreamURL(raw), "holds white space: remove it")
		return
	case err != nil:
		f.add(field, "{redacted}", "is no valid URL: write %s", streamForms)
		return
	}
	switch strings.ToLower(u.Scheme) {
	case "rtmp", "rtmps":
		if u.Hostname() == "" || strings.Count(strings.Trim(u.Path, "/"), "/") < 1 {
			f.add(field, RedactStreamURL(raw), "write host, application and stream key: rtmp://host/app/key")
		}
	case "srt":
		validateSRT(f, field, u)
	case "mux", "twitch":
		if u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.Fragment != "" {
			f.add(field, "{redacted}", "write the stream key alone: %s://key", strings.ToLower(u.Scheme))
		}
	default:
		f.add(field, schemeOf(u), "use an ingest URL: %s", streamForms)
	}
}

// validateSRT looks at what an SRT caller needs. What the query says beside
// streamid, passphrase, pbkeylen, latency and mode is not used.
func validateSRT(f *Faults, field string, u *url.URL) {
	shown := RedactStreamURL(u.String())
	query, err := url.ParseQuery(u.RawQuery)
	switch mode := query.Get("mode"); {
	case u.Hostname() == "" || u.Port() == "" || u.Port() == "0":
		f.add(field, shown, "write host and port: srt://host:port?streamid=key")
	case err != nil:
		f.add(field, shown, "its query cannot be read: percent-encode streamid and passphrase")
	case u.Fragment != "":
		f.add(field, shown, "holds a #, where the URL ends: write %%23 for it in streamid and passphrase")
	case mode != "" && mode != "caller":
		f.add(field, shown, "mode: %q: streams call their server: leave mode out, or use caller", brief(mode))
	}
	if p := query.Get("passphrase"); p != "" && (len(p) < 10 || len(p) > 79) {
		f.add(field, shown, "passphrase: SRT takes 10 to 79 characters")
	}
	if k := query.Get("pbkeylen"); !slices.Contains([]string{"", "0", "16", "24", "32"}, k) {
		f.add(field, shown, "pbkeylen: use 16, 24 or 32 (bytes)")
	}
	if l := query.Get("latency"); l != "" && (len(l) > 5 || strings.Trim(l, "0123456789") != "") {
		f.add(field, shown, "latency: use 0 to 99999 (milliseconds)")
	}
}
