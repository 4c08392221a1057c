// Package child runs one recording in a process of its own, so that a fault in
// C code (GStreamer, x264) ends one recording and not the worker.
//
// The parent writes JSON lines to the child's stdin: one hello, then commands.
// The child writes its reports as JSON lines to file descriptor 3 and its log to
// stderr. The end of stdin means that the parent is gone: the child then
// finalises its file and exits, and whoever restarts the worker finds it in the
// spool. Nothing of a job is in an argument or the environment.
package child
