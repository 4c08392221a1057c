package main

import (
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"tapedeck/recorder"
)

func logLevel(name string) (zapcore.Level, error) {
	if name == "" {
		return zapcore.InfoLevel, nil
	}
	return zapcore.ParseLevel(name)
}

// logger writes to w through scrub, which sees every line last: whatever a
// library put into a message, no secret it knows gets out.
func (a *app) logger(w io.Writer, scrub recorder.Scrubber) *zap.Logger {
	level, err := logLevel(a.config.Log.Level)
	if err != nil {
		level = zapcore.InfoLevel // validate has refused others
	}
	format := a.config.Log.Format
	if format == "" {
		format = "json"
		if isTerminal(w) {
			format = "console"
		}
	}
	var encoder zapcore.Encoder
	if format == "json" {
		c := zap.NewProductionEncoderConfig()
		c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		encoder = zapcore.NewJSONEncoder(c)
	} else {
		c := zap.NewDevelopmentEncoderConfig()
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(scrubWriter{w, scrub})), level))
}

// scrubWriter scrubs each write; zap writes an entry at a time.
type scrubWriter struct {
	w     io.Writer
	scrub recorder.Scrubber
}

func (s scrubWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.w, s.scrub.Text(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
