package pipeline

/*
#cgo pkg-config: x11
#include <X11/Xlib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// When a display goes away Xlib calls its I/O error handler and then exit(),
// which would end the process before the files are finalised. The handler must
// not return, and XSetIOErrorExitHandler needs the Display that ximagesrc hides.
// So the thread that met the error, one of ximagesrc's, is parked for ever; the
// rest of the process goes on without it. The default handler for protocol
// errors calls exit() too.

enum { TD_DISPLAYS = 64, TD_NAME = 128 };
static struct { char name[TD_NAME]; int gone; int error; } td_displays[TD_DISPLAYS];
static pthread_mutex_t td_lock = PTHREAD_MUTEX_INITIALIZER;

static int td_slot(const char *name) {
	int i;
	for (i = 0; i < TD_DISPLAYS - 1; i++)
		if (td_displays[i].name[0] == 0 || strncmp(td_displays[i].name, name, TD_NAME - 1) == 0)
			break;
	strncpy(td_displays[i].name, name, TD_NAME - 1);
	return i;
}

static int td_on_io_error(Display *d) {
	pthread_mutex_lock(&td_lock);
	td_displays[td_slot(DisplayString(d))].gone = 1;
	pthread_mutex_unlock(&td_lock);
	for (;;)
		pause();
	return 0;
}

static int td_on_error(Display *d, XErrorEvent *e) {
	pthread_mutex_lock(&td_lock);
	td_displays[td_slot(DisplayString(d))].error = e->error_code;
	pthread_mutex_unlock(&td_lock);
	return 0;
}

static void td_watch(const char *name) {
	pthread_mutex_lock(&td_lock);
	int i = td_slot(name);
	td_displays[i].gone = td_displays[i].error = 0;
	pthread_mutex_unlock(&td_lock);
	XSetIOErrorHandler(td_on_io_error);
	XSetErrorHandler(td_on_error);
}

static void td_look(const char *name, int *gone, int *error) {
	pthread_mutex_lock(&td_lock);
	int i = td_slot(name);
	*gone = td_displays[i].gone;
	*error = td_displays[i].error;
	pthread_mutex_unlock(&td_lock);
}
*/
import "C"

import "unsafe"

// watchDisplay takes over the process's Xlib error handlers and forgets what was
// known of the display. Call it before the display is opened.
func watchDisplay(name string) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	C.td_watch(c)
}

// displayState reports whether the connection to a display is lost, and the
// code of the last protocol error on it, 0 for none.
func displayState(name string) (gone bool, protocolError int) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	var g, e C.int
	C.td_look(c, &g, &e)
	return g != 0, int(e)
}
