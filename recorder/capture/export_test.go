package capture

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
)

// CrashTab does to the tab what chrome://crash does.
func (s *Session) CrashTab(ctx context.Context) error {
	return send(ctx, s.chrome.devtools, s.tab.id(), page.Crash, cdp.Empty{})
}

// CloseTab does to the tab what a page does that may close itself.
func (s *Session) CloseTab(ctx context.Context) error {
	return send(ctx, s.chrome.devtools, "", target.CloseTarget, target.CloseTargetParams{TargetID: s.tab.target})
}

// Dir is the session's directory.
func (s *Session) Dir() string { return s.dir }

// Pids gives the processes of the session by name.
func (s *Session) Pids() map[string]int {
	pids := map[string]int{}
	for _, p := range s.processes {
		pids[p.name] = p.pid()
	}
	return pids
}
