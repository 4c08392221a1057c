package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/term"

	"tapedeck/recorder"
)

// liveLine shows a running recording: one line that renews itself in a
// terminal, log lines elsewhere. As a writer it lets the log pass without
// tearing the line.
type liveLine struct {
	mu   sync.Mutex
	w    io.Writer
	on   bool // w is a terminal
	text string
	last time.Time
}

func newLiveLine(w io.Writer) *liveLine { return &liveLine{w: w, on: isTerminal(w)} }

// Write passes a log line.
func (l *liveLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	n, err := l.w.Write(p)
	l.draw()
	return n, err
}

func (l *liveLine) erase() {
	if l.on && l.text != "" {
		fmt.Fprint(l.w, "\r\x1b[2K")
	}
}

func (l *liveLine) draw() {
	if l.on && l.text != "" {
		fmt.Fprint(l.w, l.text)
	}
}

func (l *liveLine) set(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	l.text = cut(text, l.width())
	l.draw()
}

func (l *liveLine) width() int {
	if f, ok := l.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w - 1
		}
	}
	return 200
}

func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width || width <= 0 {
		return text
	}
	return string(runes[:width-1]) + "…"
}

// close leaves the last line standing.
func (l *liveLine) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on && l.text != "" {
		fmt.Fprintln(l.w)
	}
	l.text = ""
}

const logEvery = 10 * time.Second

// report shows each state of a recording.
func (l *liveLine) report(log *zap.Logger) func(recorder.Recording) {
	status := recorder.Status("")
	return func(rec recorder.Recording) {
		if l.on {
			l.set(liveText(rec))
			return
		}
		if rec.Status != status || time.Since(l.last) >= logEvery {
			status, l.last = rec.Status, time.Now()
			log.Info(string(rec.Status), progressFields(rec)...)
		}
	}
}

// delivery shows each state of the upload.
func (l *liveLine) delivery(rec recorder.Recording) {
	if l.on {
		l.set(deliveryText(rec))
	}
}

func liveText(rec recorder.Recording) string {
	if rec.Status == recorder.StatusStarting {
		return "starting: waiting for " + rec.URL
	}
	s := rec.Stats
	parts := []string{
		string(rec.Status), clock(s.Elapsed.Std()), fmt.Sprintf("%.0f fps", s.FPS),
		fmt.Sprintf("%d dropped", s.Dropped),
	}
	if len(rec.Files)+len(rec.Segments)+len(rec.Images) > 0 {
		parts = append(parts, humanBytes(s.Bytes))
	}
	parts = append(parts, fmt.Sprintf("audio %s", level(s.AudioPeak)))
	for _, st := range rec.Streams {
		text := st.URL + " " + string(st.State)
		if st.Retries > 0 {
			text += fmt.Sprintf(" (%d retries)", st.Retries)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " · ")
}

func level(peak float64) string {
	switch {
	case peak == 0:
		return "off"
	case peak <= -99:
		return "silent"
	}
	return fmt.Sprintf("%.0f dB", peak)
}

func deliveryText(rec recorder.Recording) string {
	parts := []string{"delivering"}
	for _, f := range rec.Files {
		text := f.Filename + " " + string(f.State)
		if f.Error != "" && f.State != recorder.FileDelivered {
			text += ": " + f.Error
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " · ")
}

func progressFields(rec recorder.Recording) []zap.Field {
	if rec.Status == recorder.StatusStarting {
		return []zap.Field{zap.String("url", rec.URL)}
	}
	s := rec.Stats
	fields := []zap.Field{
		zap.Stringer("elapsed", s.Elapsed.Std().Round(time.Second)), zap.Float64("fps", s.FPS),
		zap.Int64("dropped", s.Dropped), zap.Int64("bytes", s.Bytes), zap.String("audio", level(s.AudioPeak)),
	}
	for _, st := range rec.Streams {
		fields = append(fields, zap.String(st.URL, string(st.State)))
	}
	return fields
}

func clock(d time.Duration) string {
	d = d.Round(time.Second)
	return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

func humanBytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
}
