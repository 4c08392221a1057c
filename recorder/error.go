package recorder

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an Error for machines: metric labels, exit codes and the
// numeric codes LiveKit's clients know. The list is bounded.
type Code string

// The codes an Error can carry.
const (
	CodeInvalid        Code = "invalid_argument" // the job or a flag is wrong; a retry cannot help
	CodeUnimplemented  Code = "unimplemented"    // a known request that Tapedeck does not serve; a retry cannot help
	CodeNotFound       Code = "not_found"        // no such job
	CodeConflict       Code = "conflict"         // the job exists, or is not in a state that allows this
	CodeUnavailable    Code = "unavailable"      // Redis, a display or another part is away; a retry may help
	CodeStartTimeout   Code = "start_timeout"    // START_RECORDING did not come in time (LiveKit: 412)
	CodePageLoad       Code = "page_load_error"  // network error or HTTP status >= 400
	CodePageError      Code = "template_error"   // the page showed div.error
	CodePageCrashed    Code = "page_crashed"     // the tab's renderer is gone
	CodePageClosed     Code = "page_closed"      // the tab was closed, or left for another page
	CodeConnectionLost Code = "connection_lost"  // the page lost the LiveKit server for too long
	CodeSessionDied    Code = "session_died"     // Chrome, Xvfb or PulseAudio is gone
	CodePipeline       Code = "pipeline_error"   // GStreamer reported an error
	CodeStream         Code = "stream_error"     // an ingest URL refused, stalled or dropped
	CodeUpload         Code = "upload_error"     // storage refused, or what arrived differs
	CodeChildDied      Code = "child_died"       // the recording's process is gone
	CodeWorkerLost     Code = "worker_lost"      // the worker that recorded is gone
	CodeLeaseLost      Code = "lease_lost"       // another worker may own the job now
	CodeAborted        Code = "aborted"          // stopped before it could start (LiveKit: 412)
	CodeInternal       Code = "internal"         // a bug
)

// Error is what users, events and results see. Message is free of secrets;
// Err, when there is one, is for operators and is scrubbed where it is logged.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Err     error  `json:"-"`
}

// Errorf makes an Error. A %w operand becomes its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error gives the message; a sentinel, which has none, gives its code.
func (e *Error) Error() string {
	if e.Message == "" {
		return strings.ReplaceAll(string(e.Code), "_", " ")
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an Error of the same code without a message, so
// that errors.Is(err, &Error{Code: CodeNotFound}) works.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Message == "" && t.Code == e.Code
}

// Sentinels that adapters return and the domain tests for.
var (
	// ErrSessionDied says that Chrome, Xvfb or PulseAudio of a session ended.
	ErrSessionDied = &Error{Code: CodeSessionDied}
	// ErrPageCrashed says that the tab's renderer is gone; a reload may help.
	ErrPageCrashed = &Error{Code: CodePageCrashed}
	// ErrPageClosed says that the tab is gone; the recording ends.
	ErrPageClosed = &Error{Code: CodePageClosed}
	// ErrNotFound says that no job has this id.
	ErrNotFound = &Error{Code: CodeNotFound}
	// ErrConflict says that the job exists already or is in a state that forbids this.
	ErrConflict = &Error{Code: CodeConflict}
	// ErrLeaseLost says that the job belongs to another worker now.
	ErrLeaseLost = &Error{Code: CodeLeaseLost}
	// ErrNoWork says that nothing could be claimed for now.
	ErrNoWork = errors.New("no work")
)

// CodeOf gives the code of err; CodeInternal when it carries none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	var f Faults
	if errors.As(err, &f) {
		return CodeInvalid
	}
	return CodeInternal
}

// AsError gives err as an *Error, wrapping what is not one with the code.
func AsError(err error, code Code) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Message == err.Error() {
			return e
		}
		return &Error{Code: e.Code, Message: err.Error(), Err: err}
	}
	if c := CodeOf(err); c != CodeInternal {
		code = c
	}
	return &Error{Code: code, Message: err.Error(), Err: err}
}
