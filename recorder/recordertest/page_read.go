package recordertest

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Frame is one picture of a recording of the barcode page.
type Frame struct {
	PTS     time.Duration
	Counter int  // the page's frame counter; -1 where no barcode could be read
	Flash   bool // the flash region is white
}

// The picture is reduced to cells of 4 x 4 points, of which the inner 2 x 2
// count; below the barcode's three rows is one row for the flash region.
const (
	barcodeColumns = 16
	barcodeRows    = 3
	cellPoints     = 4
	frameWidth     = barcodeColumns * cellPoints
	frameHeight    = (barcodeRows + 1) * cellPoints
	checkWord      = 0xa5c3
)

// ReadBarcodes decodes every picture of a recording of the barcode page, in
// order of presentation. It needs ffmpeg.
func ReadBarcodes(t testing.TB, file string) []Frame {
	t.Helper()
	filter := "split[a][b];" +
		"[a]crop=iw/2:iw*3/32:0:0:exact=1,scale=64:12:flags=area[code];" +
		"[b]crop=iw/8:ih:iw*13/16:0,scale=64:4:flags=area[flash];" +
		"[code][flash]vstack,format=gray,showinfo=checksum=0"
	out, log := ffmpeg(t, "-copyts", "-i", file, "-filter_complex", "[0:v:0]"+filter+"[o]",
		"-map", "[o]", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1")
	stamps := readStamps(t, log)
	const size = frameWidth * frameHeight
	if len(stamps) < len(out)/size {
		t.Fatalf("%s: %d pictures but %d time stamps", file, len(out)/size, len(stamps))
	}
	frames := make([]Frame, len(out)/size)
	for i := range frames {
		frames[i] = readFrame(out[i*size:(i+1)*size], 0)
		frames[i].PTS = stamps[i]
	}
	return frames
}

// readFrame takes so many columns on the left for the upper bits of small words.
func readFrame(picture []byte, hidden int) Frame {
	f := Frame{Counter: -1, Flash: true}
	var words [barcodeRows]int
	for row := range barcodeRows {
		for column := range barcodeColumns {
			words[row] = words[row]<<1 | bit(cellBrightness(picture, row, column))
		}
	}
	shown := 1<<(barcodeColumns-hidden) - 1
	words[0], words[1] = words[0]&shown, words[1]&shown
	if (words[0]^words[1]^checkWord^words[2])&shown == 0 {
		f.Counter = words[0]<<16 | words[1]
	}
	// Every part of the region has to be white: a half drawn flash is none.
	for column := range barcodeColumns {
		f.Flash = f.Flash && bit(cellBrightness(picture, barcodeRows, column)) == 1
	}
	return f
}

func cellBrightness(picture []byte, row, column int) int {
	sum := 0
	for y := 1; y <= 2; y++ {
		for x := 1; x <= 2; x++ {
			sum += int(picture[(row*cellPoints+y)*frameWidth+column*cellPoints+x])
		}
	}
	return sum / 4
}

func bit(brightness int) int {
	if brightness >= 128 {
		return 1
	}
	return 0
}

// readStamps takes the time stamps from what the showinfo filter logged: whole
// ticks, for its seconds are rounded to six digits.
func readStamps(t testing.TB, log []byte) []time.Duration {
	t.Helper()
	base := regexp.MustCompile(`config in time_base: (\d+)/(\d+)`)
	stamp := regexp.MustCompile(`\bn: *\d+ pts: *(-?\d+) `)
	var stamps []time.Duration
	num, den := int64(0), int64(1)
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := base.FindStringSubmatch(lines.Text()); m != nil {
			num, _ = strconv.ParseInt(m[1], 10, 64)
			den, _ = strconv.ParseInt(m[2], 10, 64)
		} else if m := stamp.FindStringSubmatch(lines.Text()); m != nil {
			ticks, _ := strconv.ParseInt(m[1], 10, 64)
			stamps = append(stamps, time.Duration(float64(ticks)*float64(num)/float64(den)*float64(time.Second)))
		}
	}
	return stamps
}

// FlashOnsets gives the time of the first picture of each flash.
func FlashOnsets(frames []Frame) []time.Duration {
	var onsets []time.Duration
	for i, f := range frames {
		if f.Flash && (i == 0 || !frames[i-1].Flash) {
			onsets = append(onsets, f.PTS)
		}
	}
	return onsets
}

const (
	sampleRate = 48000
	beepHertz  = 1000
	// Two periods: short enough for half a millisecond, long enough to tell 1 kHz from a click.
	beepWindow = 2 * sampleRate / beepHertz
	// What counts as a tone at all; the page beeps at half of full scale.
	beepAmplitude = 0.1
	// Silence that has to come before the next onset.
	beepPause = sampleRate / 5
)

// BeepOnsets gives the time of each beginning of a 1 kHz tone in a recording's
// sound, to about half a millisecond. Gaps in the sound count as silence. It
// needs ffmpeg.
func BeepOnsets(t testing.TB, file string) []time.Duration {
	t.Helper()
	return toneOnsets(readSound(t, file), beepWindow)
}

// toneOnsets finds where the amplitude of 1 kHz rises. At an onset the window
// is half full when the amplitude passes half of what it rises to, so the tone
// began half a window before.
func toneOnsets(samples []float64, window int) []time.Duration {
	envelope := toneEnvelope(samples, window)
	var onsets []time.Duration
	quiet := beepPause
	for i, level := range envelope {
		if level < beepAmplitude {
			quiet++
			continue
		}
		if quiet >= beepPause {
			top := slices.Max(envelope[i:min(len(envelope), i+5*window)])
			half := i
			for half > 0 && envelope[half-1] >= top/2 {
				half--
			}
			for envelope[half] < top/2 {
				half++
			}
			onsets = append(onsets, time.Duration(max(0, half-window/2))*time.Second/sampleRate)
		}
		quiet = 0
	}
	return onsets
}

// toneEnvelope is the amplitude of 1 kHz in the window that ends at each sample.
func toneEnvelope(samples []float64, window int) []float64 {
	envelope := make([]float64, len(samples))
	var re, im float64
	mixed := func(i int) (float64, float64) {
		sin, cos := math.Sincos(2 * math.Pi * beepHertz * float64(i%sampleRate) / sampleRate)
		return samples[i] * cos, samples[i] * sin
	}
	for i := range samples {
		a, b := mixed(i)
		re, im = re+a, im+b
		if i >= window {
			a, b = mixed(i - window)
			re, im = re-a, im-b
		}
		envelope[i] = 2 * math.Hypot(re, im) / float64(window)
	}
	return envelope
}

// ffmpeg runs ffmpeg and gives its output and its log.
func ffmpeg(t testing.TB, args ...string) (out, log []byte) {
	t.Helper()
	args = append([]string{"-hide_banner", "-nostdin", "-nostats", "-loglevel", "info"}, args...)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		text, _ := io.ReadAll(io.LimitReader(&stderr, 1<<20))
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Fatalf("ffmpeg: %v\n%s", err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
	return stdout.Bytes(), stderr.Bytes()
}
