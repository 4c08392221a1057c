package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// show measures the recording, since a file alone proves nothing, and makes a sheet
// of pictures from all over it.
func (d *demo) show(ctx context.Context, path string, columns, rows int) error {
	probe, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries",
		"stream=codec_name,width,height,avg_frame_rate,sample_rate:format=duration,size", "-of", "compact=nk=0", path).Output()
	if err != nil {
		return fmt.Errorf("ffprobe %s: %w", path, err)
	}
	moving, err := ffmpegCount(ctx, path, "-vf", "mpdecimate", "frame=")
	if err != nil {
		return err
	}
	loud, err := ffmpegCount(ctx, path, "-af", "volumedetect", "mean_volume:")
	if err != nil {
		return err
	}
	sheet, err := contactSheet(ctx, path, columns, rows)
	if err != nil {
		return err
	}
	step("recording", path)
	fmt.Printf("%s    moving pictures: %s    sound: %s\n    contact sheet: %s\n", indent(string(probe)), moving, loud, sheet)
	return nil
}

// contactSheet shows the middle of each of so many equal parts, beside the file.
func contactSheet(ctx context.Context, path string, columns, rows int) (string, error) {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path).Output()
	if err != nil {
		return "", fmt.Errorf("ffprobe %s: %w", path, err)
	}
	length, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return "", fmt.Errorf("ffprobe %s: %w", path, err)
	}
	part := length / float64(columns*rows)
	sheet := path + ".png"
	filter := fmt.Sprintf("fps=%f,scale=480:-2,tile=%dx%d", 1/part, columns, rows)
	tile := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-y", "-ss", fmt.Sprint(part/2), "-i", path, "-vf", filter, "-frames:v", "1", sheet)
	if out, err := tile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("contact sheet: %w: %s", err, out)
	}
	return sheet, nil
}

// ffmpegCount runs a measuring filter and gives what it printed last after label.
func ffmpegCount(ctx context.Context, path, flag, filter, label string) (string, error) {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-nostdin", "-i", path, flag, filter, "-f", "null", "-").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ffmpeg %s: %w", filter, err)
	}
	i := strings.LastIndex(string(out), label)
	if i < 0 {
		return "", fmt.Errorf("ffmpeg %s said nothing of %q", filter, label)
	}
	fields := strings.Fields(string(out)[i+len(label):])
	if label == "frame=" {
		return fields[0] + " distinct frames", nil
	}
	return fields[0] + " dB mean", nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") + "\n"
}
