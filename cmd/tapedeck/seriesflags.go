package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tapedeck/recorder"
)

// seriesFlags are the flags for segments and images that record and enqueue share.
type seriesFlags struct {
	hls, hlsLive  string
	segment       time.Duration
	images        string
	imageInterval time.Duration
	imageSize     string
}

// register adds the flags; where says what their paths are relative to.
func (s *seriesFlags) register(f *pflag.FlagSet, where string) {
	f.StringVar(&s.hls, "hls", "", "write HLS: what the names of segments and playlist (.m3u8) begin with, such as talk/talk, "+where)
	f.StringVar(&s.hlsLive, "hls-live", "", fmt.Sprintf("beside --hls, name of a playlist of the last %d segments, such as live.m3u8", recorder.LiveSegments))
	f.DurationVar(&s.segment, "segment-duration", 0, "length of HLS segments, 1s to 60s (default 4s)")
	f.StringVar(&s.images, "images", "", "write JPEG pictures: what their names begin with, such as talk/thumb, "+where)
	f.DurationVar(&s.imageInterval, "image-interval", 0, "time from picture to picture, 1s to 1h (default 10s)")
	f.StringVar(&s.imageSize, "image-size", "", "size of the pictures, such as 320x180, or a width alone (default: the recording's)")
}

// apply adds the outputs that were asked for to the job.
func (s *seriesFlags) apply(f *pflag.FlagSet, noManifest bool, job *recorder.Job) error {
	for _, needs := range [][2]string{{"hls-live", "hls"}, {"segment-duration", "hls"}, {"image-interval", "images"}, {"image-size", "images"}} {
		if f.Changed(needs[0]) && !f.Changed(needs[1]) {
			return usageError{fmt.Errorf("--%s: goes with --%s: give both", needs[0], needs[1])}
		}
	}
	if s.hls != "" {
		job.Segments = append(job.Segments, recorder.SegmentOutput{
			FilenamePrefix: s.hls, LivePlaylistName: s.hlsLive, SegmentDuration: recorder.Duration(s.segment), DisableManifest: noManifest,
		})
	}
	if s.images != "" {
		width, height, err := parseImageSize(s.imageSize)
		if err != nil {
			return usageError{fmt.Errorf("--image-size %q: %w", s.imageSize, err)}
		}
		job.Images = append(job.Images, recorder.ImageOutput{
			FilenamePrefix: s.images, CaptureInterval: recorder.Duration(s.imageInterval), Width: width, Height: height, DisableManifest: noManifest,
		})
	}
	return nil
}

func parseImageSize(s string) (width, height int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	if !strings.ContainsAny(s, "xX") {
		if width, _, err = parseDimensions(s + "x1"); err != nil {
			return 0, 0, errors.New("write WIDTHxHEIGHT, or a width alone, in pixels")
		}
		return width, 0, nil
	}
	return parseDimensions(s)
}

// localOutputs moves the job's local paths below one directory, which it answers:
// that of output alone, or the nearest above all of them.
func localOutputs(job *recorder.Job, output string) (dir string, err error) {
	var paths []*string
	var abs []string
	add := func(flag string, path *string, check func(flag, path string) (string, error)) error {
		full, err := check(flag, *path)
		if err != nil {
			return err
		}
		paths, abs = append(paths, path), append(abs, full)
		return nil
	}
	if output != "" {
		// The manifest is for those who look for recordings in a storage.
		job.Files = append([]recorder.FileOutput{{Filepath: output, DisableManifest: true}}, job.Files...)
		err = add("-o", &job.Files[0].Filepath, checkOutput)
	}
	for i := range job.Segments {
		job.Segments[i].DisableManifest = true
		err = errors.Join(err, add("--hls", &job.Segments[i].FilenamePrefix, checkPrefix))
	}
	for i := range job.Images {
		job.Images[i].DisableManifest = true
		err = errors.Join(err, add("--images", &job.Images[i].FilenamePrefix, checkPrefix))
	}
	if err != nil || len(abs) == 0 {
		return "", err
	}
	dir = filepath.Dir(abs[0])
	for _, path := range abs[1:] {
		for !within(dir, path) {
			dir = filepath.Dir(dir)
		}
	}
	for i, path := range paths {
		*path = strings.TrimPrefix(strings.TrimPrefix(abs[i], dir), "/")
	}
	return dir, nil
}

func within(dir, path string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// checkPrefix finds out before the recording whether files can be written there.
func checkPrefix(flag, prefix string) (string, error) {
	abs, err := filepath.Abs(prefix)
	if err != nil {
		return "", usageError{fmt.Errorf("%s %q: %w", flag, prefix, err)}
	}
	if strings.HasSuffix(prefix, "/") { // a directory, and generated names
		abs = strings.TrimSuffix(abs, "/") + "/"
	}
	return abs, checkWritable(flag, prefix, filepath.Dir(abs))
}
