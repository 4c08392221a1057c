package egress

import (
	"strconv"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// encodingOptions is what every kind of request says of its encoding.
type encodingOptions interface {
	GetPreset() livekit.EncodingOptionsPreset
	GetAdvanced() *livekit.EncodingOptions
}

// encoding maps preset and advanced options. depth, audio_quality and
// video_quality have no meaning here, nor in LiveKit's encoders.
func encoding(o encodingOptions) (recorder.Encoding, error) {
	a := o.GetAdvanced()
	if a == nil {
		return preset(o.GetPreset())
	}
	switch a.VideoCodec {
	case livekit.VideoCodec_DEFAULT_VC, livekit.VideoCodec_H264_BASELINE, livekit.VideoCodec_H264_MAIN, livekit.VideoCodec_H264_HIGH:
	default:
		return recorder.Encoding{}, invalid("advanced.video_codec", "%s: pictures are encoded as H.264: use H264_MAIN, or leave it out", a.VideoCodec)
	}
	if _, known := livekit.AudioCodec_name[int32(a.AudioCodec)]; !known {
		return recorder.Encoding{}, invalid("advanced.audio_codec", "%s: is unknown: use AAC, OPUS or AC_MP3, or leave it out", a.AudioCodec)
	}
	return recorder.Encoding{Advanced: &recorder.EncodingOptions{
		Width: int(a.Width), Height: int(a.Height), Framerate: int(a.Framerate),
		VideoBitrate: int(a.VideoBitrate), AudioBitrate: int(a.AudioBitrate), AudioFrequency: int(a.AudioFrequency),
		KeyFrameInterval: a.KeyFrameInterval,
	}}, nil
}

func preset(p livekit.EncodingOptionsPreset) (recorder.Encoding, error) {
	if p == livekit.EncodingOptionsPreset_H264_720P_30 { // the default, chosen or not
		return recorder.Encoding{}, nil
	}
	if _, known := livekit.EncodingOptionsPreset_name[int32(p)]; !known {
		return recorder.Encoding{}, invalid("preset", "%s: is unknown: use one that EncodingOptionsPreset lists, or advanced", p)
	}
	return recorder.Encoding{Preset: p.String()}, nil
}

// fileExtension says what a file is, as LiveKit Egress decides it. Other outputs
// bind the codec of a file that names no type.
func fileExtension(t livekit.EncodedFileType, codec livekit.AudioCodec, audioOnly, alone bool) (string, bool) {
	switch t {
	case livekit.EncodedFileType_MP4:
		return recorder.ExtMP4, true
	case livekit.EncodedFileType_OGG:
		return recorder.ExtOGG, true
	case livekit.EncodedFileType_MP3:
		return recorder.ExtMP3, true
	case livekit.EncodedFileType_DEFAULT_FILETYPE:
	default:
		return "", false
	}
	switch {
	case !audioOnly:
		return recorder.ExtMP4, true
	case codec == livekit.AudioCodec_AC_MP3:
		return recorder.ExtMP3, true
	case codec == livekit.AudioCodec_AAC, !alone && codec != livekit.AudioCodec_OPUS:
		return recorder.ExtMP4, true
	default:
		return recorder.ExtOGG, true
	}
}

func indexed(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
