package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tapedeck/recorder"
)

// LiveKitConfig is the server of rooms whose job names none, the key that lets
// recorders in, and whether this worker stands in for LiveKit's egress service.
type LiveKitConfig struct {
	URL       string `yaml:"url" env:"URL"`
	APIKey    string `yaml:"api_key" env:"API_KEY"`
	APISecret string `yaml:"api_secret" env:"API_SECRET"`
	// Keys are more API keys and their secrets: clients may use them, and webhooks be
	// signed with them.
	Keys map[string]string `yaml:"keys" env:"KEYS"`
	// RejectDuplicates refuses a second recording of a room with the same layout and
	// encoding, asked for over HTTP.
	RejectDuplicates bool `yaml:"reject_duplicates" env:"REJECT_DUPLICATES"`
	// Enabled answers livekit-server over the Redis that both share.
	Enabled bool `yaml:"enabled" env:"ENABLED"`
}

// HTTPConfig is LiveKit's egress API over HTTP, and what operators look at.
type HTTPConfig struct {
	Listen string `yaml:"listen" env:"LISTEN"` // host:port; off when empty
	// Metrics is a host:port for /metrics and /healthz alone. Empty leaves them to Listen.
	Metrics string `yaml:"metrics" env:"METRICS"`
}

// WebhooksConfig is who is told of every job, beside the job's own webhooks.
type WebhooksConfig struct {
	URLs        []string      `yaml:"urls" env:"URLS"` // may hold secrets
	GiveUpAfter time.Duration `yaml:"give_up_after" env:"GIVE_UP_AFTER"`
}

// defaultListen is for this machine only: whoever is to reach it from elsewhere
// puts a proxy with TLS before it, or names another address.
const defaultListen = "127.0.0.1:7980"

// hasKey reports whether there is something to check and to sign with.
func (l LiveKitConfig) hasKey() bool { return l.APIKey != "" && l.APISecret != "" }

// keys gives every key with its secret.
func (l LiveKitConfig) keys() map[string]string {
	all := maps.Clone(l.Keys)
	if all == nil {
		all = map[string]string{}
	}
	if l.hasKey() {
		all[l.APIKey] = l.APISecret
	}
	return all
}

func (c Config) validateDoors(wrong func(field string, value any, remedy string)) (problems []error) {
	if (c.LiveKit.APIKey == "") != (c.LiveKit.APISecret == "") {
		problems = append(problems, errors.New("livekit.api_secret: belongs with livekit.api_key: set both, or neither for jobs that bring their own tokens"))
	}
	if raw := c.LiveKit.URL; raw != "" && !hasScheme(raw, "ws", "wss", "http", "https") {
		wrong("livekit.url", recorder.RedactURL(raw), "write ws://host:7880 or wss://host")
	}
	for key, secret := range c.LiveKit.Keys {
		if key == "" || secret == "" {
			wrong("livekit.keys", key, "give every key its secret")
		}
	}
	for _, at := range []address{c.HTTP.api(), c.HTTP.operators()} {
		if _, port, err := net.SplitHostPort(at.listen); at.listen != "" && (err != nil || !validPort(port)) {
			wrong(at.field, at.listen, "write host:port, such as "+defaultListen)
		}
	}
	for i, raw := range c.Webhooks.URLs {
		if u, err := url.Parse(raw); err != nil || u.Host == "" || !hasScheme(raw, "http", "https") {
			wrong(fmt.Sprintf("webhooks.urls[%d]", i), recorder.RedactWebhook(raw), "write https://host/path")
		}
		if slices.Contains(c.Webhooks.URLs[:i], raw) {
			wrong(fmt.Sprintf("webhooks.urls[%d]", i), recorder.RedactWebhook(raw), "is listed twice: leave one of them out")
		}
	}
	if d := c.Webhooks.GiveUpAfter; d < time.Second || d > longestWebhook {
		wrong("webhooks.give_up_after", d, "use 1s to 168h")
	}
	if len(c.Webhooks.URLs) > 0 && !c.LiveKit.hasKey() {
		problems = append(problems, errors.New("webhooks.urls: webhooks are signed: set livekit.api_key and livekit.api_secret, with which receivers verify them"))
	}
	return problems
}

// longestWebhook is how long Redis keeps what nobody could deliver.
const longestWebhook = 7 * 24 * time.Hour

// requireKey tells what a door lacks that checks and signs with LiveKit's key.
func (c Config) requireKey(door string) error {
	if c.LiveKit.hasKey() {
		return nil
	}
	return usageError{fmt.Errorf("%s needs livekit.api_key and livekit.api_secret: set them in the configuration or in "+
		"TAPEDECK_LIVEKIT_API_KEY and TAPEDECK_LIVEKIT_API_SECRET (behind livekit-server they are a pair of its keys)", door)}
}

func hasScheme(raw string, schemes ...string) bool {
	return slices.ContainsFunc(schemes, func(s string) bool { return strings.HasPrefix(raw, s+"://") })
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n <= 65535
}
