package pipeline

import (
	"strings"

	"github.com/go-gst/go-gst/gst"
)

// Element is a GStreamer element and the Debian package that has it.
type Element struct {
	Name, Package string
}

// Elements lists every GStreamer element that a Pipeline may use.
func Elements() []Element {
	return []Element{
		{"aacparse", "gstreamer1.0-plugins-good"},
		{"appsink", "gstreamer1.0-plugins-base"},
		{"appsrc", "gstreamer1.0-plugins-base"},
		{"audioconvert", "gstreamer1.0-plugins-base"},
		{"audioresample", "gstreamer1.0-plugins-base"},
		{"avenc_aac", "gstreamer1.0-libav"},
		{"capsfilter", "libgstreamer1.0-0"},
		{"filesink", "libgstreamer1.0-0"},
		{"flvmux", "gstreamer1.0-plugins-good"},
		{"h264parse", "gstreamer1.0-plugins-bad"},
		{"jpegenc", "gstreamer1.0-plugins-good"},
		{"lamemp3enc", "gstreamer1.0-plugins-good"},
		{"mp4mux", "gstreamer1.0-plugins-good"},
		{"mpegtsmux", "gstreamer1.0-plugins-bad"},
		{"oggmux", "gstreamer1.0-plugins-base"},
		{"opusenc", "gstreamer1.0-plugins-base"},
		{"pulsesrc", "gstreamer1.0-plugins-good"},
		{"rtmp2sink", "gstreamer1.0-plugins-bad"},
		{"srtsink", "gstreamer1.0-plugins-bad"},
		{"videoconvert", "gstreamer1.0-plugins-base"},
		{"videoscale", "gstreamer1.0-plugins-base"},
		{"vp8enc", "gstreamer1.0-plugins-good"},
		{"webmmux", "gstreamer1.0-plugins-good"},
		{"x264enc", "gstreamer1.0-plugins-ugly"},
		{"ximagesrc", "gstreamer1.0-plugins-good"},
		{"xingmux", "gstreamer1.0-plugins-good"},
	}
}

// Missing lists what of Elements this machine lacks, as "element (package)", and
// TLS, which GLib loads from a package that nothing pulls in.
func Missing() []string {
	gstInit()
	var missing []string
	for _, e := range Elements() {
		if gst.Find(e.Name) == nil {
			missing = append(missing, e.Name+" ("+e.Package+")")
		}
	}
	if !hasTLS() {
		missing = append(missing, "TLS for rtmps (glib-networking)")
	}
	return missing
}

// Version is GStreamer's own, such as "1.22.0".
func Version() string {
	gstInit()
	return strings.TrimPrefix(versionString(), "GStreamer ")
}
