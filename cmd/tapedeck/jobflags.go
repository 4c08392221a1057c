package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tapedeck/recorder"
)

// encodingFlags are the flags that record and enqueue share.
type encodingFlags struct {
	size, preset             string
	fps, bitrate             int
	keyFrames                float64
	audioOnly, videoOnly     bool
	rtmp, streams            []string
	series                   seriesFlags
	duration, startTimeout   time.Duration
	maxSize                  string
	reloads                  int
	noManifest               bool
	s3, s3Region, s3Endpoint string
	s3PathStyle              bool
	uploadURL                string
}

// register adds the flags; whose says whose keys --s3 uses.
func (e *encodingFlags) register(f *pflag.FlagSet, whose string) {
	f.StringVar(&e.size, "size", "", "picture size, such as 1280x720 (default) or 720x1280")
	f.IntVar(&e.fps, "fps", 0, "frames per second, 1 to 60 (default 30)")
	f.StringVar(&e.preset, "preset", "", "one of "+strings.Join(recorder.PresetNames(), ", "))
	f.IntVar(&e.bitrate, "bitrate", 0, "video bitrate in kbit/s, 150 to 50000 (default 3000)")
	f.Float64Var(&e.keyFrames, "key-frame-interval", 0, "seconds between key frames, 0.5 to 30 (default 4)")
	f.BoolVar(&e.audioOnly, "audio-only", false, "record sound only")
	f.BoolVar(&e.videoOnly, "video-only", false, "record the picture only")
	f.StringArrayVar(&e.streams, "stream", nil, "ingest URL rtmp://host/app/key, rtmps://…, srt://host:port?streamid=key, mux://key or twitch://key;"+
		" @file reads it from a file; repeat for up to 3")
	f.StringArrayVar(&e.rtmp, "rtmp", nil, "another name of --stream; @file too")
	f.DurationVar(&e.duration, "duration", 0, "end after so long, such as 90s or 1h30m")
	f.StringVar(&e.maxSize, "max-size", "", "end when the largest file or series is so large, such as 500MB or 2GiB")
	f.DurationVar(&e.startTimeout, "start-timeout", 0, "how long the page may take to start (default 30s)")
	f.IntVar(&e.reloads, "reload-attempts", recorder.DefaultReloadAttempts, "how often a page that fails or crashes is loaded again")
	f.BoolVar(&e.noManifest, "no-manifest", false, "write no <file>.json beside the recording")
	f.StringVar(&e.s3, "s3", "", "upload to s3://bucket/key; credentials come from "+whose+" environment as with every AWS tool")
	f.StringVar(&e.s3Region, "s3-region", "", "region of the bucket")
	f.StringVar(&e.s3Endpoint, "s3-endpoint", "", "URL of an S3-compatible server")
	f.BoolVar(&e.s3PathStyle, "s3-path-style", false, "address the bucket in the path, not in the host name")
	f.StringVar(&e.uploadURL, "upload-url", "", "upload to a presigned URL with HTTP PUT; @file reads it from a file")
}

// apply puts the flags that were given into job.
func (e *encodingFlags) apply(f *pflag.FlagSet, job *recorder.Job) error {
	if err := e.applyEncoding(f, job); err != nil {
		return err
	}
	if err := e.applyStreams(job); err != nil {
		return err
	}
	if err := e.series.apply(f, e.noManifest, job); err != nil {
		return err
	}
	if f.Changed("duration") {
		job.Limits.MaxDuration = recorder.Duration(e.duration)
	}
	if f.Changed("start-timeout") {
		job.Limits.StartTimeout = recorder.Duration(e.startTimeout)
	}
	if f.Changed("reload-attempts") {
		job.Limits.ReloadAttempts = &e.reloads
	}
	if e.maxSize != "" {
		size, err := parseSize(e.maxSize)
		if err != nil {
			return usageError{fmt.Errorf("--max-size %q: %w", e.maxSize, err)}
		}
		job.Limits.MaxSize = size
	}
	return nil
}

func (e *encodingFlags) applyStreams(job *recorder.Job) error {
	for _, given := range []struct {
		flag string
		urls []string
	}{{"rtmp", e.rtmp}, {"stream", e.streams}} {
		for _, u := range given.urls {
			u, err := secretFlag(given.flag, u)
			if err != nil {
				return err
			}
			job.Streams = append(job.Streams, recorder.StreamOutput{URLs: []string{u}})
		}
	}
	return nil
}

func (e *encodingFlags) applyEncoding(f *pflag.FlagSet, job *recorder.Job) error {
	var adv recorder.EncodingOptions
	if job.Advanced != nil {
		adv = *job.Advanced
	}
	if e.size != "" {
		var err error
		if adv.Width, adv.Height, err = parseDimensions(e.size); err != nil {
			return usageError{fmt.Errorf("--size %q: %w", e.size, err)}
		}
	}
	for name, to := range map[string]*int{"fps": &adv.Framerate, "bitrate": &adv.VideoBitrate} {
		if !f.Changed(name) {
			continue
		}
		v, err := f.GetInt(name)
		if err != nil {
			return err
		}
		if v == 0 {
			return usageError{fmt.Errorf("--%s 0: use a number above 0, or leave the flag out", name)}
		}
		*to = v
	}
	if f.Changed("key-frame-interval") {
		adv.KeyFrameInterval = e.keyFrames
	}
	if adv != (recorder.EncodingOptions{}) {
		job.Advanced = &adv
	}
	if e.preset != "" {
		job.Preset = e.preset
	}
	job.AudioOnly = job.AudioOnly || e.audioOnly
	job.VideoOnly = job.VideoOnly || e.videoOnly
	return nil
}

// uploads gives the file outputs of --s3 and --upload-url.
func (e *encodingFlags) uploads(ext string) ([]recorder.FileOutput, error) {
	var outs []recorder.FileOutput
	if e.s3 != "" {
		bucket, key, err := parseS3(e.s3)
		if err != nil {
			return nil, usageError{fmt.Errorf("--s3 %q: %w", e.s3, err)}
		}
		outs = append(outs, recorder.FileOutput{Filepath: key, DisableManifest: e.noManifest, Storage: recorder.Storage{S3: &recorder.S3Upload{
			Bucket: bucket, Region: e.s3Region, Endpoint: e.s3Endpoint, ForcePathStyle: e.s3PathStyle,
		}}})
	}
	if e.uploadURL != "" {
		u, err := secretFlag("upload-url", e.uploadURL)
		if err != nil {
			return nil, err
		}
		outs = append(outs, recorder.FileOutput{Filepath: "upload" + ext, DisableManifest: true, UploadURL: u})
	}
	return outs, nil
}

func parseDimensions(s string) (w, h int, err error) {
	a, b, ok := strings.Cut(strings.ToLower(s), "x")
	if ok {
		w, err = strconv.Atoi(a)
		if err == nil {
			h, err = strconv.Atoi(b)
		}
	}
	if !ok || err != nil || w <= 0 || h <= 0 {
		return 0, 0, errors.New("write WIDTHxHEIGHT in pixels, such as 1280x720")
	}
	return w, h, nil
}

// parseSize reads bytes with a decimal or binary unit.
func parseSize(s string) (int64, error) {
	units := []struct {
		suffix string
		factor float64
	}{
		{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1}, {"", 1},
	}
	lower := strings.ToLower(strings.TrimSpace(s))
	for _, u := range units {
		number, ok := strings.CutSuffix(lower, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err == nil && v > 0 && v*u.factor < 1<<62 {
			return int64(v * u.factor), nil
		}
		break
	}
	return 0, errors.New("write a size such as 500MB or 2GiB")
}

func parseS3(s string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(s, "s3://")
	bucket, key, slash := strings.Cut(rest, "/")
	if !ok || !slash || bucket == "" || key == "" {
		return "", "", errors.New("write s3://bucket/key, such as s3://recordings/talk.mp4")
	}
	return bucket, key, nil
}
