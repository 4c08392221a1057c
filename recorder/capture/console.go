package capture

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"

	"tapedeck/recorder"
)

// console keeps the last lines of a page's console, of earlier lives too.
type console struct{ lines []string }

const (
	consoleLines       = 100
	longestConsoleLine = 500
	longestLookedAt    = 8192 // bytes of one line
)

func (c *console) add(line string) {
	c.lines = append(c.lines, line)
	if len(c.lines) > consoleLines {
		c.lines = c.lines[len(c.lines)-consoleLines:]
	}
}

// remark is one line of a console, free of what looks like a secret but for raw.
type remark struct {
	level, text string
	source      string // "https://host/script.js:12", or nothing
	raw         string // as it was said; to be looked at, never to be kept
}

// entry makes a remark; lines count from 0, and what has none is below.
func entry(level, text, source string, line int64) remark {
	said := remark{level: level, text: saying(text), raw: text}
	if source != "" {
		said.source = shortSource(source)
		if line >= 0 {
			said.source += fmt.Sprintf(":%d", line+1)
		}
	}
	return said
}

// saying is what is kept of a page's words. Those of a page that says very much are
// not even looked at to their end: its markers wait behind them.
func saying(text string) string {
	text = cutWords(text, longestLookedAt)
	return cutWords(plain(recorder.ScrubText(strings.TrimSpace(text))), longestConsoleLine)
}

// String makes "level: text (source)".
func (r remark) String() string {
	if r.source == "" {
		return r.level + ": " + r.text
	}
	return r.level + ": " + r.text + " (" + r.source + ")"
}

// shortSource is a script's URL without what may be a secret: its query.
func shortSource(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return cut(recorder.ScrubText(source), longestConsoleLine)
	}
	return cut(u.Scheme+"://"+u.Host+u.EscapedPath(), longestConsoleLine)
}

// consoleCall formats a console.log.
func consoleCall(event runtime.EventConsoleAPICalled) remark {
	words := make([]string, 0, len(event.Args))
	for _, arg := range event.Args {
		words = append(words, argText(arg))
	}
	source, at := origin(event.StackTrace)
	return entry(string(event.Type), strings.Join(words, " "), source, at)
}

// signal is a marker and the note that was logged with it.
type signal struct {
	marker recorder.Marker
	note   string // the first text behind the marker, where it is a plain word
}

// signalOf tells the marker a console.log carries, if any: an argument that is
// exactly the marker, at any level.
func signalOf(args []*runtime.RemoteObject) (said signal) {
	for _, arg := range args {
		if arg.Type != runtime.RemoteObjectTypeString {
			continue
		}
		text := argText(arg)
		switch m := recorder.Marker(text); {
		case m == recorder.MarkerStart, m == recorder.MarkerEnd:
			said = signal{marker: m}
		case said.marker != "":
			said.note = plainWord(text)
			return said
		}
	}
	return said
}

const longestNote = 64

// plainWord gives text when it is such a word as "room_closed". It becomes a
// reason in states and metrics, which must not hold just anything a page says.
func plainWord(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > longestNote || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return text
}

func argText(arg *runtime.RemoteObject) string {
	var text string
	switch {
	case arg.Type == runtime.RemoteObjectTypeString && json.Unmarshal(arg.Value, &text) == nil:
		return text
	case arg.Preview != nil && arg.Subtype != runtime.RemoteObjectSubtypeError:
		return previewText(arg.Preview)
	case arg.UnserializableValue != "":
		return string(arg.UnserializableValue)
	case len(arg.Value) > 0:
		return string(arg.Value)
	case arg.Description != "":
		return arg.Description
	default:
		return string(arg.Type)
	}
}

func previewText(preview *runtime.ObjectPreview) string {
	var fields []string
	for _, p := range preview.Properties {
		if preview.Subtype == runtime.ObjectPreviewSubtypeArray {
			fields = append(fields, p.Value)
		} else {
			fields = append(fields, p.Name+": "+p.Value)
		}
	}
	if preview.Overflow {
		fields = append(fields, "…")
	}
	if preview.Subtype == runtime.ObjectPreviewSubtypeArray {
		return "[" + strings.Join(fields, ", ") + "]"
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func origin(trace *runtime.StackTrace) (source string, line int64) {
	if trace == nil || len(trace.CallFrames) == 0 {
		return "", 0
	}
	return trace.CallFrames[0].URL, trace.CallFrames[0].LineNumber
}

// exceptionLine formats an uncaught exception: its first line, not its stack.
func exceptionLine(details *runtime.ExceptionDetails) remark {
	text := details.Text
	if e := details.Exception; e != nil && e.Description != "" {
		text, _, _ = strings.Cut(e.Description, "\n")
		text = "Uncaught " + text
	}
	source := details.URL
	if source == "" {
		source, _ = origin(details.StackTrace)
	}
	return entry("exception", text, source, details.LineNumber)
}

// logLine formats what the browser itself says about a page: a resource that
// did not load, a policy that forbade something.
func logLine(e *log.Entry) remark {
	return entry(string(e.Level), e.Text, e.URL, e.LineNumber-1)
}
