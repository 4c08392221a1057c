package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chromedp/cdproto/page"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// A page that hangs cannot be photographed; nobody waits for it longer than this.
const screenshotLimit = 1500 * time.Millisecond

// Diagnose tells what the page said and did since the session opened, and takes
// a picture of it if it can.
func (s *Session) Diagnose(ctx context.Context) recorder.Diagnosis {
	s.diagnoses.Lock()
	defer s.diagnoses.Unlock()
	s.tab.mu.Lock()
	l := *s.tab.life
	lines := slices.Clone(s.tab.console.lines)
	s.tab.mu.Unlock()

	d := recorder.Diagnosis{
		URL: recorder.RedactURL(l.url), HTTPStatus: l.status, NetError: l.netErr, PageError: l.divErr, Console: lines,
	}
	path, err := s.screenshot(ctx)
	if err != nil {
		s.log.Info("no screenshot of the page", zap.Error(err))
		return d
	}
	d.Screenshot = path
	return d
}

// screenshot saves a picture of the page: screenshot.png, then screenshot-2.png
// and so on.
func (s *Session) screenshot(ctx context.Context) (string, error) {
	if s.spec.Dir == "" {
		return "", errors.New("no directory to save it in")
	}
	if err := s.dead(); err != nil {
		return "", err
	}
	picture, err := s.photograph(ctx)
	if err != nil {
		return "", err
	}
	name := "screenshot.png"
	if s.shots++; s.shots > 1 {
		name = fmt.Sprintf("screenshot-%d.png", s.shots)
	}
	path := filepath.Join(s.spec.Dir, name)
	return path, os.WriteFile(path, picture, 0o600)
}

// photograph asks the page, and takes what the display shows when the page
// cannot answer: a crashed one then shows its last picture.
func (s *Session) photograph(ctx context.Context) ([]byte, error) {
	if !s.tab.crashed() {
		asking, cancel := context.WithTimeout(ctx, screenshotLimit)
		defer cancel()
		shot, err := call(asking, s.devtools(), s.tab.id(), page.CaptureScreenshot, page.CaptureScreenshotParams{})
		if err == nil {
			return shot.Data, nil
		}
	}
	if s.screen == nil {
		return nil, errors.New("the page does not answer, and the desktop is not ours to photograph")
	}
	picture, err := s.screen.picture(s.spec.Width, s.spec.Height)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	err = png.Encode(&file, picture)
	return file.Bytes(), err
}
