package recorder

// The codecs of clips.
const (
	ClipVP8  = "vp8"
	ClipH264 = "h264"
	ClipOpus = "opus"
)

// The sound of clips: one channel, in packets of 20 ms.
const (
	ClipRate         = 48000 // samples a second
	ClipPacketFrames = ClipRate / 50
)

// PictureClip is a loop of pictures that a rehearsed participant shows, to be
// encoded beforehand. It begins with a key frame.
type PictureClip struct {
	Codec         string // ClipVP8 or ClipH264
	Width, Height int    // pixels, even
	Framerate     int    // a second
	Frames        int    // length of the loop
	KeyEvery      int    // frames from one key frame to the next, at most
	Bitrate       int    // kbps
	// Draw fills picture n with I420 (BT.601, limited range): Y, then U, then V, rows not padded.
	Draw func(n int, i420 []byte)
}

// SoundClip is a loop of sound that a rehearsed participant plays, to be encoded
// as Opus beforehand.
type SoundClip struct {
	Samples []float32 // one channel at ClipRate, whole packets
	Bitrate int       // kbps
}

// ClipSample is one encoded picture or packet of sound.
type ClipSample struct {
	Data []byte // H.264 as Annex B
	Key  bool   // decoding can begin here; true for sound
}
