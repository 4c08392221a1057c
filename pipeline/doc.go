// Package pipeline turns what an X display shows and what a PulseAudio server
// plays into files, HLS segments, pictures, and RTMP and SRT streams. It is the
// only package that knows GStreamer.
//
// One Pipeline is several small GStreamer pipelines with Go between them:
//
//	ximagesrc → [grid, BGRx → I420] ─┬→ H.264 encoder ─┬→ file (mux, filesink)
//	                                 ├→ VP8 encoder    ├→ file
//	                                 └→ images (JPEG)  │
//	pulsesrc  → [sound line]        ─┬→ AAC encoder   ─┼→ [segments and playlists]
//	                                 └→ Opus encoder   └→ stream (one pipeline a connection)
//
// What stands in brackets is ours: captured frames are put on an exact
// grid, samples on the same clock. Encoders are made when the first
// output needs them and are shared by all. A hub hands every encoded packet to
// every output and never waits for one of them: each has a bounded queue of its
// own. So a dead display, a full disk or a hung ingest server is an error of one
// small pipeline; the others are still ended in order and their files finalised.
//
// Time is the monotonic system clock throughout. The first frame after Begin is
// time zero of every output.
//
// One process should run one recording: Xlib's error handlers, XAUTHORITY and
// faults in C code belong to the process (see xlib.go).
package pipeline
