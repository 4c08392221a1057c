package recorder

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID reports whether id may name a job.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Validate reports every fault of the job at once, as Faults. It is pure: it
// looks at nothing but the job. Values that may be secrets are shown redacted.
func (j Job) Validate() error {
	var f Faults
	if j.ID != "" && !ValidID(j.ID) {
		f.add("id", j.ID, "use 1 to 64 characters of A-Z a-z 0-9 _ -")
	}
	j.Source.validate(&f)
	validateName(&f, "layout", j.LayoutName(), 128)
	j.Encoding.validate(&f)
	if j.AudioOnly && j.VideoOnly {
		f.add("video_only", true, "audio_only and video_only exclude each other: set one of them")
	}
	j.validateOutputs(&f)
	if j.Backup != nil {
		if j.Backup.IsZero() {
			f.add("backup_storage", nil, "name a storage: s3, gcp, azure or ali_oss")
		}
		j.Backup.validate(&f, "backup_storage")
	}
	j.Limits.validate(&f)
	if j.Limits.MaxSize > 0 && len(j.Files)+len(j.Segments)+len(j.Images) == 0 {
		f.add("limits.max_size", j.Limits.MaxSize, "bounds files, and the job has none: use max_duration, or name a file")
	}
	validateMetadata(&f, j.Metadata)
	j.validateSize(&f)
	j.validateWebhooks(&f)
	if j.OnWorkerLoss != "" && j.OnWorkerLoss != LossResume && j.OnWorkerLoss != LossEnd {
		f.add("on_worker_loss", j.OnWorkerLoss, "use resume (the default) or end")
	}
	if len(j.Origin) > longestOrigin {
		f.add("origin", fmt.Sprintf("%d bytes", len(j.Origin)), "at most %d bytes: shorten it", longestOrigin)
	}
	return f.errOrNil()
}

const longestOrigin = 64 << 10

func (j Job) validateWebhooks(f *Faults) {
	if len(j.Webhooks) > MaxWebhooks {
		f.add("webhooks", len(j.Webhooks), "at most %d per job: remove some", MaxWebhooks)
	}
	for i, h := range j.Webhooks {
		field := fmt.Sprintf("webhooks[%d]", i)
		validateURL(f, field+".url", h.URL, "http", "https")
		validateName(f, field+".signing_key", h.Key, 256)
	}
}

func (s Source) validate(f *Faults) {
	switch {
	case s.RoomName == "" && s.URL == "":
		f.add("url", nil, "name a source: a web page (url) or a room (room_name)")
	case s.RoomName != "" && s.URL != "":
		f.add("url", RedactURL(s.URL), "url and room_name exclude each other: set one of them")
	case s.URL != "":
		validateURL(f, "url", s.URL, "http", "https")
	default:
		s.validateRoom(f)
	}
	if s.Layout != "" && s.Template != "" && s.Layout != s.Template {
		f.add("template", s.Template, "is another name for layout, which says %q: set one of them", s.Layout)
	}
	s.validateParticipant(f)
}

// validateParticipant looks at the fields that pick one participant out of a room.
func (s Source) validateParticipant(f *Faults) {
	layout := cmp.Or(s.Layout, s.Template)
	of, _, _ := strings.Cut(layout, "-") // without -light and -dark
	switch {
	case !s.ofParticipant() && s.ScreenShare == nil && (!s.UsesBuiltIn() || of != layoutParticipant):
		return
	case !s.UsesBuiltIn():
		f.add("identity", s.Identity, "identity, screen_share, audio_track_id and video_track_id are for rooms with the built-in template: "+
			"set room_name, and leave url and custom_base_url out")
		return
	case !s.ofParticipant():
		f.add("identity", nil, "name the participant to record, or its tracks (audio_track_id, video_track_id)")
	case layout != "" && of != layoutParticipant && of != layoutAudio:
		f.add("layout", layout, "shows the whole room: use %s or %s with identity, audio_track_id and video_track_id, or leave it out",
			layoutParticipant, layoutAudio)
	}
	if s.Identity != "" && (s.AudioTrackID != "" || s.VideoTrackID != "") {
		f.add("identity", s.Identity, "identity and track ids exclude each other: a track id is of one participant already")
	}
	if s.ScreenShare != nil && s.Identity == "" {
		f.add("screen_share", *s.ScreenShare, "chooses between the sources of one participant: name it with identity")
	}
	validateName(f, "identity", s.Identity, 256)
	validateName(f, "audio_track_id", s.AudioTrackID, 128)
	validateName(f, "video_track_id", s.VideoTrackID, 128)
}

func (s Source) validateRoom(f *Faults) {
	validateName(f, "room_name", s.RoomName, 256)
	validateName(f, "room_id", s.RoomID, 256)
	if s.CustomBaseURL != "" {
		validateURL(f, "custom_base_url", s.CustomBaseURL, "http", "https")
	} else if layout := cmp.Or(s.Layout, s.Template); layout != "" && !slices.Contains(BuiltInLayouts(), layout) {
		f.add("layout", layout, "%s", builtInRemedy())
	}
	if s.LiveKitURL != "" {
		validateURL(f, "livekit_url", s.LiveKitURL, "ws", "wss", "http", "https")
		if u, err := url.Parse(s.LiveKitURL); err == nil && (u.RawQuery != "" || u.ForceQuery || u.Fragment != "") {
			f.add("livekit_url", u.Scheme+"://"+u.Host+"/…", "holds a query or a fragment: write wss://host")
		}
	}
}

func validateName(f *Faults, field, name string, longest int) {
	switch {
	case len(name) > longest:
		f.add(field, name, "is longer than %d bytes: shorten it", longest)
	case !utf8.ValidString(name), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		f.add(field, name, "holds control characters or is no UTF-8: remove them")
	}
}

const longestURL = 8192

func validateURL(f *Faults, field, raw string, schemes ...string) {
	allowed := strings.Join(schemes, "://, ") + "://"
	u, err := url.Parse(raw)
	switch {
	case len(raw) > longestURL:
		f.add(field, "{redacted}", "is longer than %d bytes: shorten it", longestURL)
	case err != nil:
		// url.Error quotes the URL, which may hold a secret.
		f.add(field, "{redacted}", "is no valid URL: give an absolute one that begins with %s", allowed)
	case !slices.Contains(schemes, strings.ToLower(u.Scheme)):
		f.add(field, schemeOf(u), "the scheme is not allowed here: give a URL that begins with %s", allowed)
	case u.Hostname() == "":
		f.add(field, RedactURL(raw), "names no host: give an absolute URL such as %s://host/path", schemes[0])
	}
}

// schemeOf shows what raw has for a scheme. In a stream key with a colon it may
// be the key's first half: then nothing is shown.
func schemeOf(u *url.URL) string {
	if u.Scheme == "" || len(u.Scheme) > len("view-source") {
		return "{redacted}"
	}
	return u.Scheme + ":…"
}

func (e Encoding) validate(f *Faults) {
	names := PresetNames()
	if e.Preset != "" && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, e.Preset) }) {
		f.add("preset", e.Preset, "is unknown: use one of %s", strings.Join(names, ", "))
	}
	if e.Advanced == nil {
		return
	}
	a := *e.Advanced
	evenBetween(f, "advanced.width", a.Width)
	evenBetween(f, "advanced.height", a.Height)
	between(f, "advanced.framerate", a.Framerate, 1, 60, "frames per second")
	between(f, "advanced.video_bitrate", a.VideoBitrate, 150, 50000, "kbit/s")
	between(f, "advanced.audio_bitrate", a.AudioBitrate, 16, 512, "kbit/s")
	if a.AudioFrequency != 0 && a.AudioFrequency != 44100 && a.AudioFrequency != 48000 {
		f.add("advanced.audio_frequency", a.AudioFrequency, "use 44100 or 48000 (Hz)")
	}
	if k := a.KeyFrameInterval; k != 0 && !(k >= 0.5 && k <= 30) {
		f.add("advanced.key_frame_interval", k, "use 0.5 to 30 (seconds)")
	}
}

func evenBetween(f *Faults, field string, v int) {
	const smallest, largest = 160, 3840
	switch {
	case v == 0:
	case v < smallest || v > largest:
		f.add(field, v, "use an even number from %d to %d (pixels)", smallest, largest)
	case v%2 != 0:
		f.add(field, v, "is odd, and H.264 4:2:0 needs even sizes: use %d or %d", v-1, v+1)
	}
}

func between(f *Faults, field string, v, low, high int, unit string) {
	if v != 0 && (v < low || v > high) {
		f.add(field, v, "use %d to %d (%s)", low, high, unit)
	}
}

func (j Job) validateOutputs(f *Faults) {
	urls := j.StreamURLs()
	if len(j.Files)+len(urls)+len(j.Segments)+len(j.Images) == 0 {
		f.add("file_outputs", nil, "name an output: at least one of file_outputs, stream_outputs, segment_outputs and image_outputs")
	}
	if len(j.Files) > MaxFiles {
		f.add("file_outputs", len(j.Files), "at most %d files per job: remove some", MaxFiles)
	}
	if len(urls) > MaxStreamURLs {
		f.add("stream_outputs", len(urls), "at most %d stream URLs per job: remove some", MaxStreamURLs)
	}
	taken := names{}
	for i, out := range j.Files {
		field := fmt.Sprintf("file_outputs[%d]", i)
		out.validate(f, field, j)
		taken.take(f, field+".filepath", out.Filepath, ResolvePath(j, out.Filepath, time.Time{}, 1)) // "x" and "x.mp4" are one
	}
	j.validateSeries(f, taken)
	seen := map[string]bool{}
	for i, s := range j.Streams {
		for k, u := range s.URLs {
			field := fmt.Sprintf("stream_outputs[%d].urls[%d]", i, k)
			validateStreamURL(f, field, u)
			if id := StreamID(u); seen[id] {
				f.add(field, RedactStreamURL(u), "is there twice: an ingest takes one stream per key")
			} else {
				seen[id] = true
			}
		}
	}
}

// names are the names that outputs have, and the fields that gave them.
type names map[string]string

func (n names) take(f *Faults, field, value, name string) {
	if other, ok := n[name]; ok {
		f.add(field, value, "is also the path of %s: give each output its own", other)
		return
	}
	n[name] = field
}

func (o FileOutput) validate(f *Faults, field string, j Job) {
	validateFilepath(f, field+".filepath", o.Filepath)
	ext := extension(o.Filepath)
	if (ext == ExtOGG || ext == ExtMP3) && j.VideoOnly {
		f.add(field+".filepath", o.Filepath, "%s holds sound only, but the job is video_only: use .mp4 or .webm", ext)
	}
	if !o.IsZero() && o.UploadURL != "" {
		f.add(field+".upload_url", RedactURL(o.UploadURL), "a storage and upload_url exclude each other: set one of them")
	}
	if o.UploadURL != "" {
		validateURL(f, field+".upload_url", o.UploadURL, "http", "https")
	}
	o.Storage.validate(f, field)
}

func validateFilepath(f *Faults, field, p string) {
	validateName(f, field, p, longestPath)
	switch {
	case p == "":
	case strings.HasPrefix(p, "/"), strings.Contains(p, "\\"):
		f.add(field, p, "is not relative: remove the leading / and every \\, for it is a path within the storage")
	case slices.Contains(strings.Split(p, "/"), ".."), slices.Contains(strings.Split(p, "/"), "."), strings.Contains(p, "//"):
		f.add(field, p, "leaves or blurs its directory: remove the %q parts", "..")
	}
	parts := strings.Split(p, "/")
	if most := 16; len(parts) > most {
		f.add(field, p, "is more than %d directories deep: make it flatter", most)
	}
	for _, part := range parts {
		if len(part) > longestPart {
			f.add(field, part, "has a part longer than %d bytes: shorten it", longestPart)
		}
	}
	for _, name := range templatePattern.FindAllString(path.Clean(p), -1) {
		if !slices.Contains([]string{"{room_name}", "{room_id}", "{id}", "{time}", "{utc}"}, name) {
			f.add(field, name, "is no template: use {room_name}, {room_id}, {id}, {time} or {utc}")
		}
	}
}

var templatePattern = regexp.MustCompile(`\{[a-zA-Z_]*\}`)

func (l Limits) validate(f *Faults) {
	notNegative(f, "limits.max_duration", l.MaxDuration)
	notNegative(f, "limits.stream_timeout", l.StreamTimeout)
	notNegative(f, "limits.start_timeout", l.StartTimeout)
	if d := l.StartTimeout.Std(); d > 0 && (d < time.Second || d > time.Hour) {
		f.add("limits.start_timeout", l.StartTimeout, "use 1s to 1h")
	}
	notNegative(f, "limits.empty_timeout", l.EmptyTimeout)
	if d := l.EmptyTimeout.Std(); d > 0 && (d < time.Second || d > 24*time.Hour) {
		f.add("limits.empty_timeout", l.EmptyTimeout, "use 1s to 24h")
	}
	if l.MaxDuration > 0 && l.MaxDuration.Std() < time.Second {
		f.add("limits.max_duration", l.MaxDuration, "use 1s or more, or 0 for no limit of the job's own")
	}
	if l.MaxSize < 0 || (l.MaxSize > 0 && l.MaxSize < 100_000) {
		f.add("limits.max_size", l.MaxSize, "use 100000 or more (bytes), or 0 for no limit")
	}
	if r := l.ReloadAttempts; r != nil && (*r < 0 || *r > 10) {
		f.add("limits.reload_attempts", *r, "use 0 to 10")
	}
}

func notNegative(f *Faults, field string, d Duration) {
	if d < 0 {
		f.add(field, d, "is negative: use a duration such as 90s or 1h30m, or 0 for the default")
	}
}

func validateMetadata(f *Faults, m map[string]string) { validateMetadataAt(f, "metadata", m) }

func validateMetadataAt(f *Faults, field string, m map[string]string) {
	if len(m) > 64 {
		f.add(field, len(m), "at most 64 entries: remove some")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		// The value is the client's own: its length says enough.
		size := fmt.Sprintf("%d bytes", len(m[k]))
		if k == "" || len(k) > 256 || len(m[k]) > 2048 {
			f.add(field+"."+k, size, "keys have 1 to 256 bytes, values at most 2048")
		}
		if strings.ContainsAny(k+m[k], "\r\n\x00") {
			f.add(field+"."+k, size, "holds line breaks or NUL: remove them")
		}
	}
}

// ValidateUpdate reports every fault of an update at once. How many streams a
// job has in all is checked where it runs.
func ValidateUpdate(u Update) error {
	var f Faults
	if len(u.AddStreamURLs) == 0 && len(u.RemoveStreamURLs) == 0 && u.Layout == "" && u.Pause == nil {
		f.add("add_stream_urls", nil, "name what to change: add_stream_urls, remove_stream_urls, layout or pause")
	}
	validateName(&f, "layout", u.Layout, 128)
	if len(u.AddStreamURLs) > MaxStreamURLs {
		f.add("add_stream_urls", len(u.AddStreamURLs), "at most %d stream URLs per job: remove some", MaxStreamURLs)
	}
	for i, raw := range u.AddStreamURLs {
		validateStreamURL(&f, fmt.Sprintf("add_stream_urls[%d]", i), raw)
	}
	for i, raw := range u.RemoveStreamURLs {
		if !isStreamID(raw) {
			validateStreamURL(&f, fmt.Sprintf("remove_stream_urls[%d]", i), raw)
		}
	}
	return f.errOrNil()
}
