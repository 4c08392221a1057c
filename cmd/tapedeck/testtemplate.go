package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tapedeck/recorder"
	"tapedeck/recorder/rehearsal"
)

type testTemplateFlags struct {
	baseURL, room          string
	layouts                []string
	publishers             int
	codec                  string
	screenShare            bool
	url, apiKey, apiSecret string
	dev                    bool
	record, size, preset   string
	duration, startTimeout time.Duration
	json, noSandbox        bool
}

func (a *app) testTemplateCommand() *cobra.Command {
	var f testTemplateFlags
	cmd := &cobra.Command{
		Use:   "test-template [--base-url URL]",
		Short: "Try a room's template page among virtual publishers, and judge it",
		Long: `Try a template page as a recorder would open it: in a LiveKit room where virtual
publishers show their names and a moving clock and speak in turn. The page opens
in a visible browser, or with --record headless, and is recorded.

Every marker, console error, exception and resource that does not load is told
with its time. In the end the room is deleted, to see whether the page logs
END_RECORDING (a room that was there before is only left); then follows a verdict
with what to mend. Close the window or press Ctrl-C to end; a second Ctrl-C does
not wait for END_RECORDING.

The server is --url, LIVEKIT_URL or livekit.url of the configuration, likewise
its key and secret; --dev starts a livekit-server by itself. Exit codes: 0 no
fault, 1 faults, 2 wrong usage.`,
		Example: `  tapedeck test-template --base-url http://localhost:3000 --layout grid --dev
  tapedeck test-template --base-url http://localhost:3000 --layout grid,speaker --dev --record out.mp4
  tapedeck test-template --base-url https://templates.example.com --room standup \
    --url wss://livekit.example.com --api-key @key --api-secret @secret`,
		Args: argsExactly(0, "no arguments; the page is --base-url"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.testTemplate(cmd.Context(), &f) },
	}
	f.register(cmd)
	return cmd
}

func (f *testTemplateFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.baseURL, "base-url", "", "template page (default: the built-in template)")
	fl.StringSliceVar(&f.layouts, "layout", nil, "layout; with several, such as grid,speaker, the page is told the next ones while it runs")
	fl.StringVar(&f.room, "room", "", "room (default: one of its own)")
	fl.IntVar(&f.publishers, "publishers", 3, fmt.Sprintf("virtual publishers, 0 to %d", rehearsal.MostPublishers))
	fl.StringVar(&f.codec, "codec", recorder.ClipVP8, "of the publishers' video: "+recorder.ClipVP8+" or "+recorder.ClipH264)
	fl.BoolVar(&f.screenShare, "screen-share", false, "the first publisher shares a screen as well")
	fl.StringVar(&f.url, "url", "", "LiveKit server, ws:// or wss:// (default LIVEKIT_URL, then livekit.url)")
	fl.StringVar(&f.apiKey, "api-key", "", "its API key; @file reads it from a file (default LIVEKIT_API_KEY, then livekit.api_key)")
	fl.StringVar(&f.apiSecret, "api-secret", "", "its API secret; @file reads it from a file (default LIVEKIT_API_SECRET, then livekit.api_secret)")
	fl.BoolVar(&f.dev, "dev", false, "start a livekit-server for this on loopback")
	fl.StringVar(&f.record, "record", "", "record to this file, headless, in place of a window")
	fl.DurationVar(&f.duration, "duration", 0, "how long the room goes on after START_RECORDING (default 20s with --record, else until the window is closed)")
	fl.DurationVar(&f.startTimeout, "start-timeout", 0, "how long the page may take to start (default 30s; in a window, no end)")
	fl.StringVar(&f.size, "size", "", "picture size, such as 1280x720 (default) or 720x1280")
	fl.StringVar(&f.preset, "preset", "", "picture of a preset, such as H264_1080P_30")
	fl.BoolVar(&f.json, "json", false, "print the verdict, and all that was seen, as JSON")
	fl.BoolVar(&f.noSandbox, "no-sandbox", false, "run Chrome without its sandbox (only in a box of its own)")
}

// How long a recorded page's room goes on, and who would wait how long for END_RECORDING.
const (
	testDuration = 20 * time.Second
	// A page hears of a deleted room at once.
	endWithin = 10 * time.Second
	// A room that everybody left is closed by the server after 20 s, and noticed by
	// the built-in template after as long.
	endWithinLeft = 45 * time.Second
)

func (a *app) testTemplate(ctx context.Context, f *testTemplateFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	job, outputDir, err := f.job()
	if err != nil {
		return err
	}
	if err := f.useServer(a); err != nil {
		return err
	}
	if f.record == "" && os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return usageError{errors.New("there is no display for a window: run this in a desktop's terminal, or give --record FILE")}
	}
	if f.noSandbox {
		a.config.Chrome.Sandbox = false
	}
	t := newTrial(a, f, job, outputDir)
	defer t.close()
	if err := t.prepare(ctx); err != nil {
		return err
	}
	return t.conclude(t.direct(ctx))
}

func (f *testTemplateFlags) check() error {
	var wrong []error
	if f.codec != recorder.ClipVP8 && f.codec != recorder.ClipH264 {
		wrong = append(wrong, fmt.Errorf("--codec %q: use %s or %s", f.codec, recorder.ClipVP8, recorder.ClipH264))
	}
	if f.publishers < 0 || f.publishers > rehearsal.MostPublishers {
		wrong = append(wrong, fmt.Errorf("--publishers %d: use 0 to %d", f.publishers, rehearsal.MostPublishers))
	}
	if f.duration < 0 || f.startTimeout < 0 {
		wrong = append(wrong, errors.New("--duration, --start-timeout: use a time above 0, such as 30s"))
	}
	if f.dev && (f.url != "" || f.apiKey != "" || f.apiSecret != "") {
		wrong = append(wrong, errors.New("--dev starts a server of its own: leave --url, --api-key and --api-secret out"))
	}
	if len(wrong) > 0 {
		return usageError{errors.Join(wrong...)}
	}
	if f.duration == 0 && f.record != "" {
		f.duration = testDuration
	}
	return nil
}

// job makes the job a recorder would have: in a window too, the page gets what it
// would get from it.
func (f *testTemplateFlags) job() (job recorder.Job, outputDir string, err error) {
	once := 0
	job = recorder.Job{ID: newJobID()}
	job.Preset = f.preset
	job.RoomName = cmp.Or(f.room, "test-template-"+uuid.NewString()[:8])
	job.CustomBaseURL = f.baseURL
	if len(f.layouts) > 0 {
		job.Layout = f.layouts[0]
	}
	job.Limits.StartTimeout = recorder.Duration(f.startTimeout)
	job.Limits.ReloadAttempts = &once // what went wrong is to be seen
	if f.baseURL != "" {
		// The page is to end by itself, not the recorder before it.
		job.Limits.EmptyTimeout = recorder.Duration(2 * endWithinLeft)
	}
	if f.size != "" {
		var adv recorder.EncodingOptions
		if adv.Width, adv.Height, err = parseDimensions(f.size); err != nil {
			return job, "", usageError{fmt.Errorf("--size %q: %w", f.size, err)}
		}
		job.Advanced = &adv
	}
	file := "test-template.mp4"
	if f.record != "" {
		abs, err := checkOutput("--record", f.record)
		if err != nil {
			return job, "", err
		}
		outputDir, file = filepath.Dir(abs), filepath.Base(abs)
	}
	job.Files = []recorder.FileOutput{{Filepath: file, DisableManifest: true}}
	if f.baseURL == "" {
		for _, layout := range f.layouts {
			if !slices.Contains(recorder.BuiltInLayouts(), layout) {
				return job, "", usageError{fmt.Errorf("--layout %q: the built-in template has %s", layout, strings.Join(recorder.BuiltInLayouts(), ", "))}
			}
		}
	}
	return job, outputDir, job.Validate()
}

// useServer makes the server of flags, LIVEKIT_* or configuration the one to use.
func (f *testTemplateFlags) useServer(a *app) error {
	if f.dev {
		return nil
	}
	key, err := secretFlag("api-key", f.apiKey)
	if err != nil {
		return err
	}
	secret, err := secretFlag("api-secret", f.apiSecret)
	if err != nil {
		return err
	}
	l := &a.config.LiveKit
	l.URL = cmp.Or(f.url, os.Getenv("LIVEKIT_URL"), l.URL)
	l.APIKey = cmp.Or(key, os.Getenv("LIVEKIT_API_KEY"), l.APIKey)
	l.APISecret = cmp.Or(secret, os.Getenv("LIVEKIT_API_SECRET"), l.APISecret)
	for _, v := range []struct{ flag, value string }{{"url", l.URL}, {"api-key", l.APIKey}, {"api-secret", l.APISecret}} {
		if v.value == "" {
			return usageError{fmt.Errorf("--%s is not known: give it, or --dev for a livekit-server of its own", v.flag)}
		}
	}
	return a.config.validate()
}

// onLoopback reports whether a server is on this machine: to such Chrome connects
// only when it is told to.
func onLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
