package pipeline

/*
#cgo pkg-config: gstreamer-1.0
#cgo CFLAGS: -O3
#include <gst/gst.h>
#include <stdlib.h>

// videoconvert rounds chroma down: its white is (255, 255, 252), and it takes
// several times as long as this. BT.709, limited range, chroma sited left as H.264 has
// it by default: the mean of two rows, and of three columns weighted 1 2 1.

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define TD_CLONES
#endif

#define TD_R(p) (((p) >> 16) & 255)
#define TD_G(p) (((p) >> 8) & 255)
#define TD_B(p) ((p) & 255)

TD_CLONES void td_luma_row(const guint32 *in, guint8 *y, int width) {
	for (int x = 0; x < width; x++) {
		int r = TD_R(in[x]), g = TD_G(in[x]), b = TD_B(in[x]);
		y[x] = (r * 11966 + g * 40254 + b * 4064 + (16 << 16) + (1 << 15)) >> 16;
	}
}

// sums has room for three rows of width + 1: column -1 is a copy of column 0.
TD_CLONES void td_chroma_row(const guint32 *a, const guint32 *b, guint16 *sums, guint8 *u, guint8 *v, int width) {
	guint16 *sr = sums, *sg = sums + width + 1, *sb = sg + width + 1;
	for (int x = 0; x < width; x++) {
		sr[x + 1] = TD_R(a[x]) + TD_R(b[x]);
		sg[x + 1] = TD_G(a[x]) + TD_G(b[x]);
		sb[x + 1] = TD_B(a[x]) + TD_B(b[x]);
	}
	sr[0] = sr[1];
	sg[0] = sg[1];
	sb[0] = sb[1];
	for (int x = 0; x < width / 2; x++) {
		int r = sr[2 * x] + 2 * sr[2 * x + 1] + sr[2 * x + 2];
		int g = sg[2 * x] + 2 * sg[2 * x + 1] + sg[2 * x + 2];
		int b = sb[2 * x] + 2 * sb[2 * x + 1] + sb[2 * x + 2];
		u[x] = (b * 28785 - g * 22189 - r * 6596 + (128 << 19) + (1 << 18)) >> 19;
		v[x] = (r * 28785 - g * 26145 - b * 2640 + (128 << 19) + (1 << 18)) >> 19;
	}
}

// td_to_i420 gives a new I420 buffer of a BGRx one; NULL when that is too small.
// Rows of I420 are padded to 4 bytes, as GStreamer's default layout has them.
static void *td_to_i420(void *buffer, int width, int height) {
	GstMapInfo in, out;
	int luma = GST_ROUND_UP_4(width), chroma = GST_ROUND_UP_4(width / 2);
	gsize size = (gsize)luma * height + (gsize)chroma * height;
	if (!gst_buffer_map((GstBuffer *)buffer, &in, GST_MAP_READ))
		return NULL;
	GstBuffer *result = NULL;
	if (in.size >= (gsize)width * height * 4 && (result = gst_buffer_new_allocate(NULL, size, NULL)) != NULL) {
		gst_buffer_map(result, &out, GST_MAP_WRITE);
		guint8 *y = out.data, *u = y + (gsize)luma * height, *v = u + (gsize)chroma * (height / 2);
		guint16 *sums = malloc(sizeof(guint16) * 3 * (width + 1));
		for (int row = 0; row < height; row += 2) {
			const guint32 *a = (const guint32 *)in.data + (gsize)row * width, *b = a + width;
			td_luma_row(a, y + (gsize)row * luma, width);
			td_luma_row(b, y + (gsize)(row + 1) * luma, width);
			td_chroma_row(a, b, sums, u + (gsize)(row / 2) * chroma, v + (gsize)(row / 2) * chroma, width);
		}
		free(sums);
		gst_buffer_unmap(result, &out);
	}
	gst_buffer_unmap((GstBuffer *)buffer, &in);
	return result;
}
*/
import "C"

import (
	"unsafe"

	"github.com/go-gst/go-gst/gst"
)

// toI420 converts a picture as X has it (BGRx) to what encoders take. Width and
// height are even. Nil when the buffer does not hold so much.
func toI420(b *gst.Buffer, width, height int) *gst.Buffer {
	return gst.FromGstBufferUnsafeFull(C.td_to_i420(unsafe.Pointer(b.Instance()), C.int(width), C.int(height)))
}
