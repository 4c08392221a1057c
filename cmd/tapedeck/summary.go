package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"tapedeck/recorder"
)

// printSummary says what was written, and where it is.
func printSummary(w io.Writer, rec recorder.Recording, spool string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", rec.Status, rec.EndReason)
	if n := notes(rec); n != "" {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	for _, p := range rec.Earlier {
		fmt.Fprintf(&b, "part %d (%s)\n", p.Part, p.EndReason)
		summarizeFiles(&b, p.Files, spool)
		summarizeSeries(&b, p.Segments, p.Images, spool)
	}
	if len(rec.Earlier) > 0 {
		fmt.Fprintf(&b, "part %d\n", rec.Part)
	}
	summarizeFiles(&b, rec.Files, spool)
	summarizeSeries(&b, rec.Segments, rec.Images, spool)
	for _, s := range rec.Streams {
		fmt.Fprintf(&b, "  %s %s, %s sent", s.URL, s.State, time.Duration(s.Duration).Round(time.Second))
		if s.Retries > 0 {
			fmt.Fprintf(&b, ", %d retries", s.Retries)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, ", last error: %s", s.Error)
		}
		b.WriteString("\n")
	}
	writeDiagnosis(&b, rec.Diagnosis)
	_, err := io.WriteString(w, b.String())
	return err
}

func summarizeFiles(b *strings.Builder, files []recorder.FileResult, spool string) {
	for _, f := range files {
		where := f.Location
		if f.State != recorder.FileDelivered {
			where = fmt.Sprintf("%s: %s %s", f.Filename, f.State, f.Error)
		}
		if f.State == recorder.FilePending || f.State == recorder.FileRefused {
			where += " (kept in " + spool + "; a worker on this spool delivers it)"
		}
		fmt.Fprintf(b, "  %s\n", where)
		if f.Size == 0 {
			continue
		}
		fmt.Fprintf(b, "    %s, %s", time.Duration(f.Duration).Round(10*time.Millisecond), humanBytes(f.Size))
		if f.Width > 0 {
			fmt.Fprintf(b, ", %dx%d", f.Width, f.Height)
		}
		if len(f.Codecs) > 0 {
			fmt.Fprintf(b, ", %s", strings.Join(f.Codecs, " + "))
		}
		if f.Partial {
			b.WriteString(", partial: it plays up to where it was cut off")
		}
		b.WriteString("\n")
	}
}

func summarizeSeries(b *strings.Builder, segments []recorder.SegmentsResult, images []recorder.ImagesResult, spool string) {
	line := func(name, location, what string, s recorder.Series) {
		where := location
		if s.State != recorder.FileDelivered || where == "" {
			where = fmt.Sprintf("%s: %s %s", name, s.State, s.Error)
		}
		if s.State == recorder.FilePending || s.State == recorder.FileRefused {
			where += " (kept in " + spool + "; a worker on this spool delivers it)"
		}
		fmt.Fprintf(b, "  %s\n    %s, %s\n", strings.TrimSpace(where), what, humanBytes(s.Size))
	}
	for _, s := range segments {
		line(s.PlaylistName, s.PlaylistLocation, fmt.Sprintf("%d segments, %s", s.SegmentCount, time.Duration(s.Duration).Round(10*time.Millisecond)), s.Series)
	}
	for _, s := range images {
		line(s.FilenamePrefix, "", fmt.Sprintf("%d pictures", s.ImageCount), s.Series)
	}
}

func writeDiagnosis(b *strings.Builder, d *recorder.Diagnosis) {
	if d == nil {
		return
	}
	if d.HTTPStatus != 0 {
		fmt.Fprintf(b, "  the page answered HTTP %d\n", d.HTTPStatus)
	}
	if d.NetError != "" {
		fmt.Fprintf(b, "  the page did not load: %s\n", d.NetError)
	}
	if d.PageError != "" {
		fmt.Fprintf(b, "  the page says: %s\n", d.PageError)
	}
	for _, line := range d.Console {
		fmt.Fprintf(b, "  console: %s\n", line)
	}
	if d.Screenshot != "" {
		fmt.Fprintf(b, "  screenshot: %s\n", d.Screenshot)
	}
}
