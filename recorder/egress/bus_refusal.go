package egress

import (
	"context"
	"errors"
	"fmt"

	"github.com/livekit/psrpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"tapedeck/recorder"
)

// rpcError gives err as psrpc has it: livekit-server hands code and text to its
// client, and asks again on its own after Unavailable. What is only in an error's
// cause stays with us.
func rpcError(err error) error {
	var over *overError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return psrpc.NewError(psrpc.FailedPrecondition, over)
	case errors.Is(err, errSlow):
		return psrpc.NewError(psrpc.DeadlineExceeded, err)
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

// recovering answers a panic as an internal error: nothing a client sends may end
// the worker. What a panic says may hold anything: only its kind is logged, and
// nothing told.
func recovering(log *zap.Logger) psrpc.ServerOption {
	return psrpc.WithServerRPCInterceptors(func(ctx context.Context, req proto.Message, asked psrpc.RPCInfo, next psrpc.ServerRPCHandler) (answer proto.Message, err error) {
		defer func() {
			if p := recover(); p != nil {
				logPanic(log, asked.Method, p)
				err = psrpc.NewErrorf(psrpc.Internal, "internal error")
			}
		}()
		return next(ctx, req)
	})
}

func logPanic(log *zap.Logger, method string, p any) {
	log.Error("a request panicked", zap.String("method", method), zap.String("kind", fmt.Sprintf("%T", p)), zap.Stack("stack"))
}
