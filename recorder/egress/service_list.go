package egress

import (
	"context"
	"encoding/base64"
	"strconv"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// pageSize bounds one answer of ListEgress. Most clients ask for one page alone,
// since livekit-server has but one.
const pageSize = 1000

// ListEgress lists recordings, newest first, up to pageSize of them.
func (s *Service) ListEgress(ctx context.Context, r *livekit.ListEgressRequest) (*livekit.ListEgressResponse, error) {
	if err := mayRecord(ctx); err != nil {
		return nil, err
	}
	if r.EgressId != "" {
		rec, err := find(ctx, s.Controller, r.EgressId)
		if err != nil {
			return nil, twirpError(err)
		}
		return &livekit.ListEgressResponse{Items: []*livekit.EgressInfo{Info(rec)}}, nil
	}
	before, err := readToken(r.PageToken.GetToken())
	if err != nil {
		return nil, twirpError(err)
	}
	recs, err := s.Controller.List(ctx, recorder.Filter{RoomName: r.RoomName, Active: r.Active, Before: before, Limit: pageSize + 1})
	if err != nil {
		return nil, twirpError(err)
	}
	answer := &livekit.ListEgressResponse{}
	if len(recs) > pageSize {
		recs = recs[:pageSize]
		answer.NextPageToken = &livekit.TokenPagination{Token: tokenAfter(recs[pageSize-1])}
	}
	for _, rec := range recs {
		answer.Items = append(answer.Items, Info(rec))
	}
	return answer, nil
}

// tokenAfter is the page token of what follows a recording: opaque to clients.
func tokenAfter(rec recorder.Recording) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(rec.CreatedAt, 10)))
}

func readToken(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		var before int64
		if before, err = strconv.ParseInt(string(text), 10, 64); err == nil && before > 0 {
			return before, nil
		}
	}
	return 0, invalid("page_token", "is none that a list was answered with: leave it out for the first page")
}
