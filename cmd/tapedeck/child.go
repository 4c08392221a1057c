package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/child"
	"tapedeck/recorder/egress"
)

// childSettings is what a worker tells its children of the configuration. No
// storage, no Redis and no API secret: a child has no use for them.
type childSettings struct {
	Chrome ChromeConfig `json:"chrome"`
	Log    LogConfig    `json:"log"`
}

// reportFD is where a child's parent reads its reports.
const reportFD = 3

func (a *app) childCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "child",
		Short:  "Run one recording for a worker, which talks to it on stdin",
		Hidden: true,
		Args:   argsExactly(0, "no arguments"),
		// The worker sends the configuration; there is none to load.
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.config = defaultConfig()
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A terminal's Ctrl-C and a supervisor's TERM reach the whole group; the
			// worker decides what they mean. A worker that died leaves a broken pipe behind,
			// which must not kill us before the file is finalised. Caught and not looked at
			// rather than ignored: Chrome, Xvfb and PulseAudio would inherit the latter.
			signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			reports := os.NewFile(reportFD, "reports")
			return child.Serve(cmd.Context(), a.in, reports, a.prepareChild, func() { os.Exit(exitFailed) })
		},
	}
}

// childEnv is what a child gets of our environment: what Chrome, GStreamer and
// PulseAudio look for. Settings come through the pipe, and whatever else an
// operator has in the environment of a worker (the queue's password, storage
// keys) is nothing a page's browser should sit beside.
func childEnv(environ []string) []string {
	names := []string{
		"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
		"FONTCONFIG_FILE", "FONTCONFIG_PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
	}
	prefixes := []string{"LC_", "GST_", "ORC_", "LIBVA_", "GODEBUG", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "GORACE"}
	kept := []string{} // not nil, which would be all of it
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(names, name) || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			kept = append(kept, pair)
		}
	}
	return kept
}

func (a *app) prepareChild(settings json.RawMessage, task recorder.Task) (recorder.Runner, error) {
	var s childSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return nil, err
	}
	a.config.Chrome, a.config.Log = s.Chrome, s.Log
	return a.newRecorder(a.logger(child.Unblocked(a.err), task.Scrubber())), nil
}

// newRecorder wires the real display, browser and pipeline.
func (a *app) newRecorder(log *zap.Logger) *recorder.Recorder {
	return &recorder.Recorder{
		OpenSession: func(ctx context.Context, spec recorder.SessionSpec) (recorder.Session, error) {
			return capture.Open(ctx, spec, a.captureOptions(log))
		},
		NewPipeline: func(spec recorder.PipelineSpec) (recorder.Pipeline, error) {
			return pipeline.New(spec, pipeline.Options{Log: log})
		},
		ServeTemplate: serveTemplate,
		EnterRoom:     egress.Enter,
		Now:           time.Now,
		Log:           log,
	}
}

func (a *app) captureOptions(log *zap.Logger) capture.Options {
	c := a.config.Chrome
	return capture.Options{Log: log, ChromePath: c.Path, User: c.User, NoSandbox: !c.Sandbox, ExtraChromeFlags: c.Flags}
}
