package egress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/xtwirp"
	"github.com/twitchtv/twirp"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// longestBody bounds a request, in bytes.
const longestBody = 1 << 20

// Handler serves POST /twirp/livekit.Egress/…, JSON and protobuf. Who asks shows
// a token as to a livekit-server: Authorization: Bearer, or the parameter
// access_token. It must be signed with one of the keys and grant roomRecord.
func (s *Service) Handler() http.Handler {
	keys := map[string]string{}
	for key, secret := range s.Keys {
		keys[key] = secret
	}
	if s.APIKey != "" && s.APISecret != "" {
		keys[s.APIKey] = s.APISecret
	}
	provider := auth.NewFileBasedKeyProviderFromMap(keys)
	options := []any{twirp.WithServerInterceptors(s.recoverer)}
	for _, o := range xtwirp.DefaultServerOptions() {
		options = append(options, o)
	}
	api := xtwirp.WrapHandler(livekit.NewEgressServer(s, options...))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, longestBody)
		if strings.HasPrefix(r.URL.Path, "//") { // of SDKs whose URL ends in a slash
			r.URL.Path = r.URL.Path[1:]
		}
		grants, err := grantsOf(r, provider)
		if err != nil {
			_ = twirp.WriteError(w, twirp.NewError(twirp.Unauthenticated, err.Error()))
			return
		}
		api.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), grantsKey{}, grants)))
	})
}

// grantsKey is where a request's context has its grants.
type grantsKey struct{}

// grantsOf gives what a request's token allows: nil without one, which is for the
// method to refuse.
func grantsOf(r *http.Request, keys auth.KeyProvider) (*auth.ClaimGrants, error) {
	const bearer = "Bearer "
	token := r.URL.Query().Get("access_token")
	if header := r.Header.Get("Authorization"); header != "" {
		if !strings.HasPrefix(header, bearer) {
			return nil, errors.New("invalid authorization header. Must start with " + bearer)
		}
		token = header[len(bearer):]
	}
	if token == "" {
		return nil, nil
	}
	claims, err := auth.ParseAPIToken(token)
	if err != nil {
		return nil, errors.New("invalid authorization token")
	}
	secret := keys.GetSecret(claims.APIKey())
	if secret == "" {
		return nil, errors.New("invalid API key")
	}
	_, grants, err := claims.Verify(secret)
	if err != nil {
		return nil, errors.New("invalid token: it is not signed with this API key's secret, expired, or not valid yet")
	}
	return grants, nil
}

// mayRecord reports in livekit-server's words whether a request may use the API.
func mayRecord(ctx context.Context) error {
	grants, _ := ctx.Value(grantsKey{}).(*auth.ClaimGrants)
	if grants == nil || grants.Video == nil || !grants.Video.RoomRecord {
		return twirp.NewError(twirp.Unauthenticated, "permissions denied")
	}
	return nil
}

// recoverer answers a panic as an internal error, and logs what internal errors
// do not tell. What a panic says may hold anything: only its kind is logged.
func (s *Service) recoverer(next twirp.Method) twirp.Method {
	return func(ctx context.Context, req any) (answer any, err error) {
		defer func() {
			if p := recover(); p != nil {
				method, _ := twirp.MethodName(ctx)
				s.log().Error("a request panicked", zap.String("method", method), zap.String("kind", fmt.Sprintf("%T", p)), zap.Stack("stack"))
				err = twirp.NewError(twirp.Internal, "internal error")
			}
		}()
		answer, err = next(ctx, req)
		var said twirp.Error
		if cause := errors.Unwrap(err); errors.As(err, &said) && said.Code() == twirp.Internal && cause != nil {
			method, _ := twirp.MethodName(ctx)
			s.log().Error("a request failed", zap.String("method", method), zap.String("error", recorder.ScrubText(cause.Error())))
		}
		return answer, err
	}
}

// twirpError gives the error as livekit-server's clients know it.
func twirpError(err error) twirp.Error {
	var said twirp.Error
	var over *overError
	switch {
	case errors.As(err, &said):
		return said
	case errors.As(err, &over):
		return twirp.NewError(twirp.FailedPrecondition, over.Error())
	case errors.Is(err, errSlow):
		return twirp.NewError(twirp.DeadlineExceeded, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return twirp.NewError(twirp.DeadlineExceeded, "request timed out")
	case errors.Is(err, context.Canceled):
		return twirp.NewError(twirp.Canceled, "request canceled")
	}
	text := recorder.ScrubText(err.Error())
	switch recorder.CodeOf(err) {
	case recorder.CodeInvalid:
		return twirp.NewError(twirp.InvalidArgument, text)
	case recorder.CodeNotFound:
		return twirp.NewError(twirp.NotFound, text)
	case recorder.CodeConflict:
		return twirp.NewError(twirp.AlreadyExists, text)
	case recorder.CodeUnavailable:
		return twirp.NewError(twirp.Unavailable, text)
	case recorder.CodeUnimplemented:
		return twirp.NewError(twirp.Unimplemented, text)
	default:
		return twirp.WrapError(twirp.NewError(twirp.Internal, "internal error"), err)
	}
}
