package capture

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
)

// CrashTab does to the tab what chrome://crash does.
func (s *Session) CrashTab(ctx context.Context) error {
	return send(ctx, s.devtools(), s.tab.id(), page.Crash, cdp.Empty{})
}

// CloseTab does to the tab what a page does that may close itself.
func (s *Session) CloseTab(ctx context.Context) error {
	return send(ctx, s.devtools(), "", target.CloseTarget, target.CloseTargetParams{TargetID: s.tab.target})
}

// RunScript runs a script in the page, which need not be there any more when it is done.
func (s *Session) RunScript(ctx context.Context, script string) error {
	return send(ctx, s.devtools(), s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{Expression: script})
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

// CookiesOf gives the entries of an Xauthority file for a display.
var CookiesOf = cookiesOf

// CloseTopWindow does to the top window of this session's display what a click
// on the window's close button does (ICCCM 4.2.8.1).
func (s *Session) CloseTopWindow() error {
	windows, err := s.screen.windows()
	if err != nil {
		return err
	}
	if len(windows) == 0 {
		return errors.New("there is no window")
	}
	protocols, err1 := s.screen.atom("WM_PROTOCOLS")
	remove, err2 := s.screen.atom("WM_DELETE_WINDOW")
	const opSendEvent, clientMessage, format = 25, 33, 32
	var event message
	top := uint32(windows[len(windows)-1])
	event.put(top, uint32(0), byte(clientMessage), byte(format), uint16(0), top, protocols, remove, [4]uint32{})
	_, err = s.screen.request(opSendEvent, 0, event, false)
	return errors.Join(err1, err2, err)
}

func (sc *screen) atom(name string) (uint32, error) {
	const opInternAtom = 16
	var fields message
	fields.put(uint16(len(name)), uint16(0))
	fields.WriteString(name)
	reply, err := sc.request(opInternAtom, 0, fields, true)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(reply[8:]), nil
}

// MakeDir and SweepDirs are how sessions tell their directories from others' remains.
var (
	MakeDir   = makeDir
	SweepDirs = sweepDirs
)

// DisplayFile is the name of the note that sweeps read.
const DisplayFile = displayFile
