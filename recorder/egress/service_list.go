package egress

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// pageSize bounds one answer of ListEgress. Most clients ask for one page alone,
// since livekit-server has but one.
const pageSize = 1000

// cursor is where a page ended: the recording it ended with, and how many there
// were up to it.
type cursor struct {
	CreatedAt int64  `json:"at"`
	ID        string `json:"id"`
	Seen      int    `json:"seen"`
}

// ListEgress lists recordings, newest first, up to pageSize of them.
func (s *Service) ListEgress(ctx context.Context, r *livekit.ListEgressRequest) (*livekit.ListEgressResponse, error) {
	if err := mayRecord(ctx); err != nil {
		return nil, err
	}
	if r.EgressId != "" {
		rec, err := s.find(ctx, r.EgressId)
		if err != nil {
			return nil, twirpError(err)
		}
		return &livekit.ListEgressResponse{Items: []*livekit.EgressInfo{Info(rec)}}, nil
	}
	after, err := readCursor(r.PageToken.GetToken())
	if err != nil {
		return nil, twirpError(err)
	}
	recs, more, err := s.page(ctx, recorder.Filter{RoomName: r.RoomName, Active: r.Active}, after)
	if err != nil {
		return nil, twirpError(err)
	}
	answer := &livekit.ListEgressResponse{}
	for _, rec := range recs {
		answer.Items = append(answer.Items, Info(rec))
	}
	if more {
		last := recs[len(recs)-1]
		next := cursor{CreatedAt: last.CreatedAt, ID: last.ID, Seen: after.Seen + len(recs)}
		answer.NextPageToken = &livekit.TokenPagination{Token: next.String()}
	}
	return answer, nil
}

// page gives the recordings after a cursor. Newer ones that came since the last
// page push the rest down, so it looks further until the page is full.
func (s *Service) page(ctx context.Context, f recorder.Filter, after cursor) (page []recorder.Recording, more bool, err error) {
	for f.Limit = after.Seen + pageSize + 1; ; f.Limit *= 2 {
		all, err := s.Controller.List(ctx, f)
		if err != nil {
			return nil, false, err
		}
		page = page[:0]
		past := after.ID == ""
		for _, rec := range all {
			switch {
			case past, rec.CreatedAt < after.CreatedAt:
				past = true
				page = append(page, rec)
			case rec.ID == after.ID:
				past = true
			}
		}
		if len(page) > pageSize {
			return page[:pageSize], true, nil
		}
		if len(all) < f.Limit || f.Limit > mostListed {
			return page, false, nil
		}
	}
}

// mostListed bounds how far page looks.
const mostListed = 1 << 20

func (c cursor) String() string {
	text, _ := json.Marshal(c) // of text and numbers
	return base64.RawURLEncoding.EncodeToString(text)
}

func readCursor(token string) (cursor, error) {
	if token == "" {
		return cursor{}, nil
	}
	var c cursor
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(text, &c) != nil || c.ID == "" || c.Seen < 0 || c.Seen > mostListed {
		return cursor{}, invalid("page_token", "is none that a list was answered with: leave it out for the first page")
	}
	return c, nil
}
