package pipeline

/*
#cgo pkg-config: gstreamer-1.0 gio-2.0
#include <gio/gio.h>
#include <gst/gst.h>

static int td_has_tls(void) { return g_tls_backend_supports_tls(g_tls_backend_get_default()); }

static void td_stamp(void *buf, guint64 pts, guint64 dts, guint64 duration) {
	GST_BUFFER_PTS((GstBuffer *)buf) = pts;
	GST_BUFFER_DTS((GstBuffer *)buf) = dts;
	GST_BUFFER_DURATION((GstBuffer *)buf) = duration;
}

// The bytes of a buffer of one piece of memory, which the caller must be the
// only owner of; NULL for others. The memory outlives the unmapping.
static guint8 *td_bytes(void *buf, gsize *size) {
	GstMapInfo info;
	*size = 0;
	if (gst_buffer_n_memory((GstBuffer *)buf) != 1 || !gst_buffer_map((GstBuffer *)buf, &info, GST_MAP_READ)) return NULL;
	guint8 *data = GST_MEMORY_IS_READONLY(info.memory) ? NULL : info.data;
	if (data) *size = info.size;
	gst_buffer_unmap((GstBuffer *)buf, &info);
	return data;
}

static int td_force_key(void *pad) {
	GstStructure *s = gst_structure_new("GstForceKeyUnit",
		"all-headers", G_TYPE_BOOLEAN, TRUE, "count", G_TYPE_UINT, 0, NULL);
	return gst_pad_send_event((GstPad *)pad, gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, s));
}

// The next frame at or after the running time becomes a key frame.
static int td_force_key_at(void *pad, guint64 at) {
	GstStructure *s = gst_structure_new("GstForceKeyUnit", "running-time", G_TYPE_UINT64, at,
		"all-headers", G_TYPE_BOOLEAN, TRUE, "count", G_TYPE_UINT, 0, NULL);
	return gst_pad_send_event((GstPad *)pad, gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, s));
}

// The buffer is the caps' own.
static GstBuffer *td_codec_data(void *caps) {
	const GValue *v = gst_structure_get_value(gst_caps_get_structure((GstCaps *)caps, 0), "codec_data");
	return v ? gst_value_get_buffer(v) : NULL;
}

// The pipelines of a display that died cannot be brought to NULL (see xlib.go):
// this reference keeps the garbage collector from trying.
static void td_keep(void *object) { gst_object_ref(object); }
*/
import "C"

import (
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/go-gst/go-gst/gst"
)

// gstInit is gst_init for the whole process: go-gst writes a global of its own
// in it, so that calling it twice at once is a race.
var gstInit = sync.OnceFunc(func() { gst.Init(nil) }) //nolint:gochecknoglobals // gst_init belongs to the process

// Wrappers of go-gst drop their reference when the garbage collector finds them,
// which may be minutes later: at 30 frames a second that is gigabytes. Hence
// these explicit ones.

func freeSample(s *gst.Sample) {
	runtime.SetFinalizer(s, nil)
	s.Unref()
}

func freeBuffer(b *gst.Buffer) {
	runtime.SetFinalizer(b, nil)
	b.Unref()
}

func freeCaps(c *gst.Caps) {
	runtime.SetFinalizer(c, nil)
	c.Unref()
}

// takeBuffer gives the sample's buffer and frees the sample.
func takeBuffer(s *gst.Sample) *gst.Buffer {
	b := s.GetBuffer()
	freeSample(s)
	return b
}

// stamped gives a copy of b that shares its memory and has other times; dts is
// pts, for no encoder here reorders.
func stamped(b *gst.Buffer, pts, duration time.Duration) *gst.Buffer {
	c := b.Copy()
	C.td_stamp(unsafe.Pointer(c.Instance()), C.guint64(pts), C.guint64(pts), C.guint64(duration))
	return c
}

// rawBytes gives a buffer's memory itself, nil when it must not be written to.
// It is valid as long as the buffer is.
func rawBytes(b *gst.Buffer) []byte {
	var size C.gsize
	data := C.td_bytes(unsafe.Pointer(b.Instance()), &size)
	return unsafe.Slice((*byte)(data), int(size))
}

func forceKeyUnit(pad *gst.Pad) bool { return C.td_force_key(unsafe.Pointer(pad.Instance())) != 0 }

func forceKeyUnitAt(pad *gst.Pad, at time.Duration) bool {
	return C.td_force_key_at(unsafe.Pointer(pad.Instance()), C.guint64(at)) != 0
}

// codecData gives a copy of the caps' codec_data, nil without one.
func codecData(caps *gst.Caps) []byte {
	b := C.td_codec_data(unsafe.Pointer(caps.Instance()))
	if b == nil {
		return nil
	}
	data := make([]byte, int(C.gst_buffer_get_size(b)))
	if len(data) == 0 {
		return nil
	}
	n := C.gst_buffer_extract(b, 0, C.gpointer(unsafe.Pointer(&data[0])), C.gsize(len(data)))
	return data[:int(n)]
}

// hasTLS reports whether GLib can speak TLS, as rtmps needs it to.
func hasTLS() bool { return C.td_has_tls() != 0 }

func versionString() string {
	s := C.gst_version_string()
	defer C.g_free(C.gpointer(unsafe.Pointer(s)))
	return C.GoString(s)
}

func keepForever(p *gst.Pipeline) { C.td_keep(unsafe.Pointer(p.Instance())) }

// clockTime converts; a negative duration becomes zero.
func clockTime(d time.Duration) gst.ClockTime {
	if d < 0 {
		return 0
	}
	return gst.ClockTime(d)
}
