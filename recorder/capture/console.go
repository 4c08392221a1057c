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
)

func (c *console) add(line string) {
	c.lines = append(c.lines, line)
	if len(c.lines) > consoleLines {
		c.lines = c.lines[len(c.lines)-consoleLines:]
	}
}

// entry makes "level: text (source:line)", free of what looks like a secret.
func entry(level, text, source string, line int64) string {
	text = cut(recorder.ScrubText(strings.TrimSpace(text)), longestConsoleLine)
	if source == "" {
		return level + ": " + text
	}
	return fmt.Sprintf("%s: %s (%s:%d)", level, text, shortSource(source), line+1)
}

// shortSource is a script's URL without what may be a secret: its query.
func shortSource(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return cut(recorder.ScrubText(source), longestConsoleLine)
	}
	return cut(u.Scheme+"://"+u.Host+u.EscapedPath(), longestConsoleLine)
}

// consoleCall formats a console.log and tells the marker it carries, if any: an
// argument that is exactly the marker, at any level.
func consoleCall(event runtime.EventConsoleAPICalled) (line string, marker recorder.Marker) {
	words := make([]string, 0, len(event.Args))
	for _, arg := range event.Args {
		text := argText(arg)
		words = append(words, text)
		if m := recorder.Marker(text); arg.Type == runtime.RemoteObjectTypeString && (m == recorder.MarkerStart || m == recorder.MarkerEnd) {
			marker = m
		}
	}
	source, at := origin(event.StackTrace)
	return entry(string(event.Type), strings.Join(words, " "), source, at), marker
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
func exceptionLine(details *runtime.ExceptionDetails) string {
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
func logLine(e *log.Entry) string {
	return entry(string(e.Level), e.Text, e.URL, e.LineNumber-1)
}
