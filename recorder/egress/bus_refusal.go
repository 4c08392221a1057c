package egress

import (
	"errors"

	"github.com/livekit/psrpc"

	"tapedeck/recorder"
)

// rpcError gives err as psrpc has it: livekit-server hands code and text to its
// client, and asks again on its own after Unavailable. What is only in an error's
// cause stays with us.
func rpcError(err error) error {
	if err == nil {
		return nil
	}
	return psrpc.NewError(rpcCode(recorder.CodeOf(err)), errors.New(recorder.ScrubText(err.Error())))
}

func rpcCode(code recorder.Code) psrpc.ErrorCode {
	switch code {
	case recorder.CodeInvalid:
		return psrpc.InvalidArgument
	case recorder.CodeUnimplemented:
		return psrpc.Unimplemented
	case recorder.CodeNotFound:
		return psrpc.NotFound
	case recorder.CodeUnavailable:
		return psrpc.Unavailable
	case recorder.CodeConflict, recorder.CodeAborted, recorder.CodeLeaseLost:
		return psrpc.FailedPrecondition
	default:
		return psrpc.Internal
	}
}

// refusalToStart is rpcError for a new job: there a conflict is about one that is
// there already.
func refusalToStart(err error) error {
	if errors.Is(err, recorder.ErrConflict) {
		return psrpc.NewError(psrpc.AlreadyExists, errors.New(recorder.ScrubText(err.Error())))
	}
	return rpcError(err)
}
