package recorder

import "strconv"

// Suffix says what tells the files of a series apart.
type Suffix string

// The suffixes. SuffixNone is for images alone: each replaces the last.
const (
	SuffixIndex     Suffix = "index"     // _00000, _00001, …
	SuffixTimestamp Suffix = "timestamp" // _20060102150405000, UTC
	SuffixNone      Suffix = "none"
)

// SegmentOutput is an HLS stream of MPEG-TS segments (RFC 8216) with one or two
// playlists.
type SegmentOutput struct {
	// FilenamePrefix begins every segment's name, PlaylistName is the whole stream's
	// playlist (.m3u8), LivePlaylistName that of the last five segments; without it
	// there is none. All may hold the templates of FileOutput.Filepath, and
	// ResolveSegments says how one follows from the other.
	FilenamePrefix   string `json:"filename_prefix,omitempty"`
	PlaylistName     string `json:"playlist_name,omitempty"`
	LivePlaylistName string `json:"live_playlist_name,omitempty"`
	// SegmentDuration is what segments aim at, 1 s to 60 s. Default 4 s.
	SegmentDuration Duration `json:"segment_duration,omitzero"`
	FilenameSuffix  Suffix   `json:"filename_suffix,omitempty"`
	DisableManifest bool     `json:"disable_manifest,omitempty"`
	Storage
}

// ImageOutput is a series of JPEG pictures.
type ImageOutput struct {
	// CaptureInterval is the time from picture to picture, 1 s to 1 h. Default 10 s.
	CaptureInterval Duration `json:"capture_interval,omitzero"`
	// Width and Height in pixels, 16 to 3840. One of them keeps the ratio; none is the
	// recording's own size.
	Width           int    `json:"width,omitempty"`
	Height          int    `json:"height,omitempty"`
	FilenamePrefix  string `json:"filename_prefix,omitempty"`
	FilenameSuffix  Suffix `json:"filename_suffix,omitempty"`
	DisableManifest bool   `json:"disable_manifest,omitempty"`
	Storage
}

// Series is what the results of segments and images have in common: many files,
// delivered as they close.
type Series struct {
	State FileState `json:"state"`
	Size  int64     `json:"size,omitempty"` // bytes of all files, playlists not counted
	// StartedAt and EndedAt span the media, ns since the Unix epoch.
	StartedAt int64  `json:"started_at,omitempty"`
	EndedAt   int64  `json:"ended_at,omitempty"`
	Retries   int    `json:"retries,omitempty"`
	Error     string `json:"error,omitempty"`
	// ManifestLocation is where the series' manifest is; Backup says that the backup
	// storage has it all.
	ManifestLocation string `json:"manifest_location,omitempty"`
	Backup           bool   `json:"backup_storage_used,omitempty"`
}

// SegmentsResult is one HLS output. Its names are paths within the storage.
type SegmentsResult struct {
	PlaylistName         string `json:"playlist_name"`
	LivePlaylistName     string `json:"live_playlist_name,omitempty"`
	PlaylistLocation     string `json:"playlist_location,omitempty"`
	LivePlaylistLocation string `json:"live_playlist_location,omitempty"`
	SegmentCount         int64  `json:"segment_count"`
	Duration             int64  `json:"duration,omitempty"` // ns
	// Continued says of an earlier part that a later one lists these segments in the
	// playlists as well, and sees to them.
	Continued bool `json:"continued,omitempty"`
	Series
}

// ImagesResult is one series of pictures.
type ImagesResult struct {
	FilenamePrefix string `json:"filename_prefix"` // a path within the storage
	ImageCount     int64  `json:"image_count"`
	Series
}

// SegmentsDir and ImagesDir are where the pipeline writes series i of a task,
// within its spool entry. A file's path below it is its name in the storage; one
// that is still written ends in PartSuffix.
func SegmentsDir(i int) string { return "segments-" + strconv.Itoa(i) }

// ImagesDir is SegmentsDir for images.
func ImagesDir(i int) string { return "images-" + strconv.Itoa(i) }

// PartSuffix ends the name of a file that is not closed yet.
const PartSuffix = ".part"
