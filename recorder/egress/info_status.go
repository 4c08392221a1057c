package egress

import (
	"net/http"
	"strings"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// setStatus fills status, error, error_code and details.
func setStatus(info *livekit.EgressInfo, rec recorder.Recording) {
	info.Status = statusOf(rec)
	if reason := reasonOf(rec); reason != "" {
		info.SetEndReason(reason)
	}
	switch info.Status {
	case livekit.EgressStatus_EGRESS_LIMIT_REACHED:
		info.Error, info.ErrorCode = livekit.MsgLimitReached, http.StatusRequestEntityTooLarge
	case livekit.EgressStatus_EGRESS_ABORTED:
		info.Error, info.ErrorCode = livekit.MsgStoppedBeforeStarted, http.StatusPreconditionFailed
		if rec.Error != nil && rec.Error.Code == recorder.CodeStartTimeout {
			info.Error = livekit.MsgStartNotReceived
			info.Details += ": " + recorder.ScrubText(rec.Error.Message) // clients compare the error, people want to know why
		}
	case livekit.EgressStatus_EGRESS_FAILED:
		if info.Details == "" {
			info.SetEndReason(livekit.EndReasonFailure)
		}
		info.Error, info.ErrorCode = livekit.EndReasonFailure, http.StatusInternalServerError
		if rec.Error != nil {
			info.Error, info.ErrorCode = failure(rec.Error), httpCode(rec.Error.Code)
		}
	}
	if what := incidents(rec); what != "" {
		info.Details = strings.TrimPrefix(info.Details+"; "+what, "; ")
	}
}

// statusOf names the status. A page that never gave its start signal was aborted
// to LiveKit: it failed nobody's recording. A recording that goes on after a loss is
// active all the while: no client expects it to start twice.
func statusOf(rec recorder.Recording) livekit.EgressStatus {
	switch rec.Status {
	case recorder.StatusActive:
		return livekit.EgressStatus_EGRESS_ACTIVE
	case recorder.StatusEnding:
		return livekit.EgressStatus_EGRESS_ENDING
	case recorder.StatusComplete:
		return livekit.EgressStatus_EGRESS_COMPLETE
	case recorder.StatusFailed:
		if asBegun(rec).StartedAt == 0 && rec.Error != nil && rec.Error.Code == recorder.CodeStartTimeout {
			return livekit.EgressStatus_EGRESS_ABORTED
		}
		return livekit.EgressStatus_EGRESS_FAILED
	case recorder.StatusAborted:
		return livekit.EgressStatus_EGRESS_ABORTED
	case recorder.StatusLimitReached:
		return livekit.EgressStatus_EGRESS_LIMIT_REACHED
	default: // queued, starting
		if asBegun(rec).StartedAt != 0 {
			return livekit.EgressStatus_EGRESS_ACTIVE
		}
		return livekit.EgressStatus_EGRESS_STARTING
	}
}

// reasonOf gives the end reason in LiveKit's words; empty while there is none.
func reasonOf(rec recorder.Recording) string {
	switch rec.EndReason {
	case "":
		return ""
	case recorder.EndStopped:
		return livekit.EndReasonAPI
	case recorder.EndMaxDuration, recorder.EndMaxSize:
		return livekit.EndReasonLimitReached
	case recorder.EndDrained:
		return livekit.EndReasonKilled
	case recorder.EndSignal, recorder.EndRoomClosed, recorder.EndRoomEmpty, recorder.EndRemoved, recorder.EndConnectionLost,
		recorder.EndPageClosed:
		return livekit.EndReasonSrcClosed
	default:
		return livekit.EndReasonFailure
	}
}

// failure is an error in LiveKit's words where it has some.
func failure(e *recorder.Error) string {
	text := recorder.ScrubText(e.Error())
	switch e.Code {
	case recorder.CodePageLoad:
		return withPrefix("page load error: ", text)
	case recorder.CodePageError:
		return withPrefix("template error: ", text)
	default:
		return text
	}
}

func withPrefix(prefix, text string) string {
	return prefix + strings.TrimPrefix(text, prefix)
}

// httpCode gives the number that LiveKit's psrpc errors have for such a failure:
// what the request or its storage is to blame for is 4xx.
func httpCode(c recorder.Code) int32 {
	switch c {
	case recorder.CodeInvalid, recorder.CodePageLoad, recorder.CodePageError, recorder.CodeUpload, recorder.CodeStream:
		return http.StatusBadRequest
	case recorder.CodeNotFound:
		return http.StatusNotFound
	case recorder.CodeConflict:
		return http.StatusConflict
	case recorder.CodeStartTimeout, recorder.CodeAborted:
		return http.StatusPreconditionFailed
	case recorder.CodeUnavailable, recorder.CodeConnectionLost:
		return http.StatusServiceUnavailable
	case recorder.CodeUnimplemented:
		return http.StatusNotImplemented
	default:
		return http.StatusInternalServerError
	}
}
