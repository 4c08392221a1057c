package capture

import (
	"os/exec"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Options is how sessions are opened on this machine.
type Options struct {
	// Log takes what happens to a session; nil logs nothing.
	Log *zap.Logger
	// ChromePath is the browser's binary; looked up when empty.
	ChromePath string
	// RuntimeDir is where the directories of the sessions are made. Empty is a
	// directory of our own in XDG_RUNTIME_DIR or the temp directory. Short, for it
	// holds sockets, and passable for User.
	RuntimeDir string
	// User is whom Chrome, Xvfb and PulseAudio run as when we are root; empty is
	// DefaultUser. Ignored when we are not root.
	User string
	// NoSandbox turns Chrome's own sandbox off. A page that breaks out of its
	// renderer is then this machine's user.
	NoSandbox bool
	// ExtraChromeFlags are added to Chrome's command line, such as "--lang=de".
	ExtraChromeFlags []string
	// Visible opens the browser in an ordinary window on the user's desktop (DISPLAY,
	// else WAYLAND_DISPLAY), and lets it play to the user's own sound server: for
	// somebody to look at, not to be recorded. Closing the window is an ErrPageClosed.
	Visible bool
	// Observe is told everything a page says and does, one at a time and in order.
	// It is called where the browser's events are read: while it works, markers wait.
	// The page then also tells which parameters of its address its scripts ask for.
	Observe func(recorder.Observation)
}

// DefaultUser is the system user that build/setup.sh creates.
const DefaultUser = "tapedeck"

func (o Options) log() *zap.Logger {
	if o.Log == nil {
		return zap.NewNop()
	}
	return o.Log
}

// chromeNames is where a Chrome may be. Debian's binary comes before Debian's
// start script, which adds a desktop's flags from /etc/chromium.d.
func chromeNames() []string {
	return []string{
		"/usr/lib/chromium/chromium", "chromium", "chromium-browser",
		"google-chrome-stable", "google-chrome", "chrome", "/opt/google/chrome/chrome",
	}
}

func (o Options) chrome() (string, error) {
	if o.ChromePath != "" {
		path, err := exec.LookPath(o.ChromePath)
		if err != nil {
			return "", recorder.Errorf(recorder.CodeUnavailable, "no Chrome at %s: %w", o.ChromePath, err)
		}
		return path, nil
	}
	for _, name := range chromeNames() {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", recorder.Errorf(recorder.CodeUnavailable, "no Chrome found; install the package chromium or set its path")
}

// tool finds a program a session needs.
func tool(name, debianPackage string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", recorder.Errorf(recorder.CodeUnavailable, "%s is not installed; install the package %s: %w", name, debianPackage, err)
	}
	return path, nil
}
