package egress

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	pegress "github.com/livekit/protocol/egress"
	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// output is one output of a request: one of its messages is set. field is what
// the request calls it.
type output struct {
	field    string
	file     *livekit.FileOutput
	stream   *livekit.StreamOutput
	segments *livekit.SegmentedFileOutput
	images   *livekit.ImageOutput
	storage  pegress.UploadRequest // nil for none
}

// outputs maps a request's outputs into a job.
type outputs struct {
	job   *recorder.Job
	asked asked
	codec livekit.AudioCodec // asked for
	alone bool               // no stream and no segments beside the files
}

func addOutputs(job *recorder.Job, a asked) error {
	m := outputs{job: job, asked: a, codec: a.options.GetAdvanced().GetAudioCodec(), alone: true}
	if job.VideoOnly { // then none is used
		m.codec = livekit.AudioCodec_DEFAULT_AC
	}
	onlyImages := true
	for _, o := range a.outputs {
		m.alone = m.alone && o.stream == nil && o.segments == nil
		onlyImages = onlyImages && o.images != nil
	}
	if onlyImages && !job.AudioOnly { // nobody will hear it
		job.VideoOnly = true
	}
	for _, o := range a.outputs {
		if err := m.add(o); err != nil {
			return err
		}
	}
	return nil
}

func (m outputs) add(o output) error {
	switch {
	case o.file != nil:
		return m.addFile(o)
	case o.stream != nil:
		return m.addStream(o)
	case o.segments != nil:
		return m.addSegments(o)
	default:
		return m.addImages(o)
	}
}

func (m outputs) addFile(o output) error {
	ext, known := fileExtension(o.file.FileType, m.codec, m.asked.audioOnly, m.alone)
	if !known {
		return invalid(o.field+".file_type", "%s: is unknown: use MP4, OGG or MP3, or leave it out", o.file.FileType)
	}
	if !holds(ext, m.codec) {
		return invalid("advanced.audio_codec", "%s: %s is %s and cannot hold it: change one of them", m.codec, o.field, ext)
	}
	storage, err := storageOf(o)
	if err != nil {
		return err
	}
	name, err := m.path(o, "filepath", o.file.Filepath)
	if err != nil {
		return err
	}
	m.job.Files = append(m.job.Files, recorder.FileOutput{
		Filepath: m.withExtension(name, ext), DisableManifest: o.file.DisableManifest, Storage: storage,
	})
	return nil
}

// holds reports whether a file can hold what the client asked for. Opus in MP4 is
// taken for what that file holds here anyway, AAC, since players prefer it.
func holds(ext string, codec livekit.AudioCodec) bool {
	switch codec {
	case livekit.AudioCodec_OPUS:
		return ext == recorder.ExtMP4 || ext == recorder.ExtOGG
	case livekit.AudioCodec_AAC:
		return ext == recorder.ExtMP4
	case livekit.AudioCodec_AC_MP3:
		return ext == recorder.ExtMP3
	default:
		return true
	}
}

// withExtension repairs a filepath as LiveKit does: a known extension that is
// wrong is replaced, any other stays part of the name.
func (m outputs) withExtension(name, ext string) string {
	if name == "" || strings.HasSuffix(name, "/") {
		plain := recorder.ExtMP4
		if m.job.AudioOnly {
			plain = recorder.ExtOGG
		}
		switch {
		case ext == plain: // the name is made where the file is
			return name
		case m.job.RoomName != "":
			return name + "{room_name}-{time}" + ext
		default:
			return name + "{id}-{time}" + ext
		}
	}
	old := path.Ext(name)
	if strings.EqualFold(old, ext) {
		return name
	}
	if slices.Contains([]string{".raw", ".ogg", ".ivf", ".mp4", ".ts", ".webm", ".m3u8", ".jpeg", ".mp3"}, old) {
		name = strings.TrimSuffix(name, old)
	}
	return name + ext
}

// path cleans a name as LiveKit does: "//", "." and ".." go. One that begins with
// "/" is a key in the storage that is named beside it.
func (m outputs) path(o output, field, name string) (string, error) {
	if strings.HasPrefix(name, "/") && (o.storage == nil || !namesStorage(o.storage)) {
		return "", invalid(o.field+"."+field, "%q is a path of the machine, which no request may choose: "+
			"remove the leading /, for it is a path within the worker's storage, or name a storage", name)
	}
	if strings.ContainsRune(name, 0) {
		return "", invalid(o.field+"."+field, "holds NUL: remove it")
	}
	name = m.withSource(name)
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if strings.HasSuffix(name, "/") && clean != "" {
		clean += "/"
	}
	return clean, nil
}

// withSource fills in whom or what of the room is recorded. LiveKit looks up who
// published a track; here, where that is not known yet, the track stands in: one
// publisher's files stay apart from another's.
func (m outputs) withSource(name string) string {
	track := plainName(cmp.Or(m.job.VideoTrackID, m.job.AudioTrackID))
	var filled []string
	if who := cmp.Or(plainName(m.job.Identity), track); who != "" {
		filled = append(filled, "{publisher_identity}", who)
	}
	if track != "" {
		filled = append(filled, "{track_id}", track)
	}
	return strings.NewReplacer(filled...).Replace(name)
}

// plainName makes no directory and is no template.
func plainName(name string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\{}`, r) || r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, name), ".")
}

func (m outputs) addStream(o output) error {
	protocol := o.stream.Protocol
	if protocol == livekit.StreamProtocol_WEBSOCKET {
		return unimplemented(o.field+".protocol", "WEBSOCKET: raw audio is not sent here: use RTMP or SRT")
	}
	if _, known := livekit.StreamProtocol_name[int32(protocol)]; !known {
		return invalid(o.field+".protocol", "%s: is unknown: use RTMP or SRT, or leave it out", protocol)
	}
	if len(o.stream.Urls) == 0 && (len(m.asked.outputs) == 1 || protocol == livekit.StreamProtocol_DEFAULT_PROTOCOL) {
		return invalid(o.field+".urls", "name an ingest URL; none is right only with a protocol and another output beside it")
	}
	if err := m.needAAC(o); err != nil {
		return err
	}
	var urls []string
	for i, raw := range o.stream.Urls {
		field := indexed(o.field+".urls", i)
		// librtmp's word for what every stream here is.
		raw = strings.TrimSuffix(raw, " live=1")
		if err := checkScheme(field, raw, protocol); err != nil {
			return err
		}
		urls = append(urls, raw)
	}
	if len(urls) > 0 {
		m.job.Streams = append(m.job.Streams, recorder.StreamOutput{URLs: urls})
	}
	return nil
}

func checkScheme(field, raw string, protocol livekit.StreamProtocol) error {
	scheme, _, _ := strings.Cut(raw, "://")
	rtmp, srt := []string{"rtmp", "rtmps", "mux", "twitch"}, []string{"srt"}
	scheme = strings.ToLower(scheme)
	_, err := url.Parse(raw) // its text quotes the URL
	switch {
	case err != nil:
		return invalid(field, "is no valid URL: write rtmp:// or rtmps:// with host, application and key, srt:// with host and port, mux:// or twitch:// with the key alone")
	case scheme == "ws" || scheme == "wss":
		return unimplemented(field, "raw audio is not sent over WebSockets here: use RTMP or SRT")
	case protocol == livekit.StreamProtocol_RTMP && !slices.Contains(rtmp, scheme),
		protocol == livekit.StreamProtocol_SRT && !slices.Contains(srt, scheme),
		!slices.Contains(slices.Concat(rtmp, srt), scheme):
		return invalid(field, "the scheme does not go with protocol %s: use rtmp://, rtmps://, mux:// or twitch:// for RTMP, and srt:// for SRT", protocol)
	}
	return nil
}

// needAAC refuses what LiveKit refuses too.
func (m outputs) needAAC(o output) error {
	if m.codec == livekit.AudioCodec_DEFAULT_AC || m.codec == livekit.AudioCodec_AAC {
		return nil
	}
	return invalid("advanced.audio_codec", "%s: %s carries AAC only: use AAC, or leave it out", m.codec, o.field)
}

func (m outputs) addSegments(o output) error {
	s := o.segments
	if _, known := livekit.SegmentedFileProtocol_name[int32(s.Protocol)]; !known {
		return invalid(o.field+".protocol", "%s: is unknown: use HLS_PROTOCOL, or leave it out", s.Protocol)
	}
	if err := m.needAAC(o); err != nil {
		return err
	}
	out := recorder.SegmentOutput{
		SegmentDuration: recorder.Duration(time.Duration(s.SegmentDuration) * time.Second),
		DisableManifest: s.DisableManifest,
	}
	switch s.FilenameSuffix {
	case livekit.SegmentedFileSuffix_INDEX:
		out.FilenameSuffix = recorder.SuffixIndex
	case livekit.SegmentedFileSuffix_TIMESTAMP:
		out.FilenameSuffix = recorder.SuffixTimestamp
	default:
		return invalid(o.field+".filename_suffix", "%s: is unknown: use INDEX or TIMESTAMP", s.FilenameSuffix)
	}
	var err error
	if out.Storage, err = storageOf(o); err != nil {
		return err
	}
	for _, p := range []struct {
		to          *string
		field, name string
	}{
		{&out.FilenamePrefix, "filename_prefix", s.FilenamePrefix},
		{&out.PlaylistName, "playlist_name", s.PlaylistName},
		{&out.LivePlaylistName, "live_playlist_name", s.LivePlaylistName},
	} {
		if *p.to, err = m.path(o, p.field, p.name); err != nil {
			return err
		}
	}
	m.job.Segments = append(m.job.Segments, out)
	return nil
}

// defaultCapture is LiveKit's interval from picture to picture.
const defaultCapture = 10 * time.Second

func (m outputs) addImages(o output) error {
	im := o.images
	if _, known := livekit.ImageCodec_name[int32(im.ImageCodec)]; !known {
		return invalid(o.field+".image_codec", "%s: is unknown: use IC_JPEG, or leave it out", im.ImageCodec)
	}
	if m.asked.audioOnly {
		return invalid(o.field, "there is no picture to take: drop audio_only or the images")
	}
	out := recorder.ImageOutput{
		CaptureInterval: recorder.Duration(time.Duration(im.CaptureInterval) * time.Second),
		Width:           int(im.Width), Height: int(im.Height), DisableManifest: im.DisableManifest,
	}
	if out.CaptureInterval == 0 {
		out.CaptureInterval = recorder.Duration(defaultCapture)
	}
	switch im.FilenameSuffix {
	case livekit.ImageFileSuffix_IMAGE_SUFFIX_INDEX:
		out.FilenameSuffix = recorder.SuffixIndex
	case livekit.ImageFileSuffix_IMAGE_SUFFIX_TIMESTAMP:
		out.FilenameSuffix = recorder.SuffixTimestamp
	case livekit.ImageFileSuffix_IMAGE_SUFFIX_NONE_OVERWRITE:
		out.FilenameSuffix = recorder.SuffixNone
	default:
		return invalid(o.field+".filename_suffix", "%s: is unknown: use an IMAGE_SUFFIX_… of ImageFileSuffix", im.FilenameSuffix)
	}
	var err error
	if out.Storage, err = storageOf(o); err != nil {
		return err
	}
	if out.FilenamePrefix, err = m.path(o, "filename_prefix", im.FilenamePrefix); err != nil {
		return err
	}
	m.job.Images = append(m.job.Images, out)
	return nil
}
