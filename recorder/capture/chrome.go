package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

// chrome is a running browser and the connection to it.
type chrome struct {
	*process
	devtools *devtools
	signed   chan struct{} // closed when it says that a signal told it to end
	tabGone  atomic.Bool
	judge    func()        // says why the tab is gone, once
	mourned  chan struct{} // closed when its death is told
}

// startChrome starts the browser on an empty page and waits until it answers.
func (s *Session) startChrome(ctx context.Context, handle func(*cdproto.Message)) (*chrome, error) {
	profile := filepath.Join(s.dir, "profile")
	if err := s.writePreferences(profile); err != nil {
		return nil, err
	}
	// Chrome reads commands from descriptor 3 and writes answers to 4.
	commandsIn, commandsOut, err := os.Pipe()
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting Chrome: %w", err)
	}
	answersIn, answersOut, err := os.Pipe()
	if err != nil {
		closeAll([]*os.File{commandsIn, commandsOut})
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting Chrome: %w", err)
	}
	c := &chrome{
		devtools: newDevtools(answersIn, commandsOut, handle), signed: make(chan struct{}), mourned: make(chan struct{}),
	}
	sign := sync.OnceFunc(func() {
		close(c.signed)
		s.goes(s.signalled)
	})
	c.judge = sync.OnceFunc(func() { s.tabClosed(c) })
	c.process, err = s.spawn(command{
		name: "Chrome", path: s.chromePath, args: s.chromeFlags(profile), dir: s.dir,
		// Without the keys Debian's build tells the page's viewers that it has none.
		env: s.environment(append(s.seat(),
			"GOOGLE_API_KEY=no", "GOOGLE_DEFAULT_CLIENT_ID=no", "GOOGLE_DEFAULT_CLIENT_SECRET=no")...),
		files: []*os.File{commandsIn, answersOut}, dies: syscall.SIGKILL,
		onLine: func(line string) {
			if strings.Contains(line, signalWords) {
				sign()
			}
		},
	}, func(p *process) {
		defer close(c.mourned)
		if c.tabGone.Load() {
			c.judge()
		}
		s.mournBrowser(p)
	})
	if err != nil {
		return nil, errors.Join(err, c.devtools.close())
	}
	s.goes(func() { c.devtools.read(s.ctx) })
	if err := s.awaitAnswer(ctx, c); err != nil {
		c.signal(syscall.SIGKILL)
		<-c.done
		<-c.mourned
		_ = c.devtools.close()
		return nil, err
	}
	return c, nil
}

// signalWords is what Chrome logs when a signal ends it, before it closes its tab
// (shutdown_signal_handlers_posix.cc). Nothing else tells this end from that of a
// page which closes itself: the events and the exit status are the same.
const signalWords = "Handling shutdown for signal"

// seat tells Chrome where it shows and plays.
func (s *Session) seat() []string {
	if s.desktop != nil {
		return s.desktop.env
	}
	return []string{"DISPLAY=" + s.x.display, "XAUTHORITY=" + s.x.authority, "PULSE_SERVER=unix:" + s.pulseSocket()}
}

func (s *Session) awaitAnswer(ctx context.Context, c *chrome) error {
	_, err := call(ctx, c.devtools, "", browser.GetVersion, cdp.Empty{})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errPipeClosed), errors.Is(err, syscall.EPIPE):
		<-c.done
		return s.startFailure(c)
	default:
		return recorder.Errorf(recorder.CodeUnavailable, "Chrome is not ready: %w%s", err, c.tail.suffix())
	}
}

// startFailure explains why Chrome ended before it answered. Chrome's own words
// name the cause, but not the remedy.
func (s *Session) startFailure(c *chrome) error {
	obituary := c.obituary()
	for _, line := range c.tail.all() {
		if s.desktop != nil && strings.Contains(line, "platform failed to initialize") {
			return s.desktop.refusal(s.account)
		}
		if strings.Contains(line, "sandbox") {
			return recorder.Errorf(recorder.CodeUnavailable, "Chrome's sandbox does not work here (%s): allow unprivileged user namespaces "+
				"(sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, or build/seccomp-chrome.json in a container), "+
				"install chromium-sandbox, or switch the sandbox off and accept the risk", cut(line, 200))
		}
	}
	return recorder.Errorf(recorder.CodeUnavailable, "Chrome did not start: %w", obituary)
}

// quit asks Chrome to end and, if it hangs, kills it.
func (c *chrome) quit(ctx context.Context) error {
	c.stop(chromeGrace, func() {
		if send(ctx, c.devtools, "", browser.Close, cdp.Empty{}) != nil {
			c.terminate()
		}
	})
	return c.devtools.close()
}

// writePreferences sets what has no flag: no permission is ever granted, since a
// recorder sends nothing, and nothing is offered to be saved.
func (s *Session) writePreferences(profile string) error {
	const block = 2
	var settings []string
	for _, name := range []string{
		"media_stream_mic", "media_stream_camera", "notifications", "geolocation", "popups", "automatic_downloads",
		"midi_sysex", "clipboard", "usb_guard", "serial_guard", "bluetooth_guard", "hid_guard", "file_system_write_guard",
		"window_placement", "idle_detection", "protocol_handlers",
	} {
		settings = append(settings, fmt.Sprintf("%q:%d", name, block))
	}
	preferences := `{"profile":{"exit_type":"Normal","password_manager_enabled":false,"default_content_setting_values":{` +
		strings.Join(settings, ",") + `}},"credentials_enable_service":false,"translate":{"enabled":false},` +
		`"autofill":{"profile_enabled":false,"credit_card_enabled":false},"safebrowsing":{"enabled":false},` +
		`"browser":{"check_default_browser":false},"download":{"prompt_for_download":false}}`
	directory := filepath.Join(profile, "Default")
	file := filepath.Join(directory, "Preferences")
	err := errors.Join(os.MkdirAll(directory, 0o700), os.WriteFile(file, []byte(preferences), 0o600),
		s.account.give(profile), s.account.give(directory), s.account.give(file))
	if err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "making Chrome's profile: %w", err)
	}
	return nil
}

// disabledFeatures are Chrome's features a recorder has no use for: bubbles,
// background work, and checks that would ask a user who is not there. A page on
// the internet that talks to a LiveKit server in the local network would need
// somebody to allow it.
func disabledFeatures() string {
	return strings.Join([]string{
		"Translate", "MediaRouter", "DialMediaRouteProvider", "OptimizationHints", "OptimizationGuideModelDownloading",
		"GlobalMediaControls", "InterestFeedContentSuggestions", "AutofillServerCommunication", "CertificateTransparencyComponentUpdater",
		"HttpsUpgrades", "LocalNetworkAccessChecks", "DestroyProfileOnBrowserClose", "AcceptCHFrame", "PrivacySandboxSettings4",
		// Two hidden pages of the address bar, which nobody sees here.
		"WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
	}, ",")
}

// chromeFlags is Chrome's command line. It never holds the page's URL, which is
// a secret: that goes through the pipe.
//
// Measured with the barcode page (1280x720, drawn at 60 fps, 8.6 s, Chromium
// 156 on 2 cores without a GPU, ticks of 10 ms of all processes and Xvfb):
// --disable-gpu 151 at 59.7 fps; no flag 187 at 59.7; SwiftShader through ANGLE
// 1077 at 53.6. So Chrome's software compositor it is.
func (s *Session) chromeFlags(profile string) []string {
	flags := []string{
		"--remote-debugging-pipe", "--user-data-dir=" + profile,
		// Errors, as without these, and signalWords. Below that is what the page logs.
		"--enable-logging=stderr", "--log-level=2", "--vmodule=shutdown_signal_handlers_posix=1",
		// What shows is the page and nothing else, at its own size.
		fmt.Sprintf("--window-size=%d,%d", s.spec.Width, s.spec.Height),
		"--force-device-scale-factor=1", "--hide-scrollbars", "--no-first-run", "--no-default-browser-check", "--noerrdialogs",
		"--disable-session-crashed-bubble", "--hide-crash-restore-bubble", "--disable-search-engine-choice-screen",
		"--disable-prompt-on-repost", "--deny-permission-prompts",
		"--force-color-profile=srgb", "--disable-lcd-text",
		// Sound and picture run without a user and without being looked at.
		"--autoplay-policy=no-user-gesture-required", "--disable-background-timer-throttling",
		"--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows", "--disable-hang-monitor",
		// Otherwise window.close() does nothing in a window that no script opened.
		"--blink-settings=allowScriptsToCloseWindows=true",
		"--disable-gpu",
		// WebGL in software: without a GPU Chrome has none otherwise, and maps and charts
		// stay blank. It runs in the GPU process; pages without WebGL pay nothing.
		"--enable-unsafe-swiftshader",
		// Nothing is fetched, reported or left behind but for the page.
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--disable-component-extensions-with-background-pages", "--disable-domain-reliability",
		"--disable-client-side-phishing-detection", "--disable-breakpad", "--disable-crash-reporter", "--metrics-recording-only",
		"--no-pings", "--password-store=basic", "--use-mock-keychain", "--disable-features=" + disabledFeatures(),
	}
	if s.desktop != nil {
		flags = append(flags, "--ozone-platform="+s.desktop.platform)
	} else {
		flags = append(flags, "--kiosk", "--window-position=0,0", "--ozone-platform=x11")
	}
	if s.spec.Silent {
		flags = append(flags, "--mute-audio")
	}
	if size, err := shmSize(); err != nil || size < smallShm {
		flags = append(flags, "--disable-dev-shm-usage")
	}
	if s.opts.NoSandbox {
		// --test-type keeps Chrome from warning about it in the picture.
		flags = append(flags, "--no-sandbox", "--test-type")
	}
	return append(append(flags, s.opts.ExtraChromeFlags...), "about:blank")
}

// Below so many bytes of /dev/shm (a container has 64 MB unless told otherwise)
// Chrome's tabs crash for want of shared memory.
const smallShm = 512 << 20

func shmSize() (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &stat); err != nil {
		return 0, err
	}
	return stat.Blocks * uint64(stat.Bsize), nil
}
