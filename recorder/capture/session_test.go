package capture_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, spec recorder.SessionSpec) *capture.Session {
	t.Helper()
	if spec.Width == 0 {
		spec.Width, spec.Height = 1280, 720
	}
	if spec.Dir == "" {
		spec.Dir = t.TempDir()
	}
	s, err := capture.Open(within(t), spec, capture.Options{Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestPageStartsAndEnds(t *testing.T) {
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{})
	require.NoError(t, s.Navigate(within(t), page.URL+"/markers?start=50&end=200"))
	require.NoError(t, s.Wait(within(t), recorder.MarkerStart))
	require.NoError(t, s.Wait(within(t), recorder.MarkerLoaded))
	require.NoError(t, s.Wait(within(t), recorder.MarkerEnd))
	d := s.Diagnose(within(t))
	t.Logf("%+v", d)
	require.NotEmpty(t, d.Screenshot)
}
