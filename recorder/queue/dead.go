package queue

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// How long the texts of a dead letter are.
const (
	longestPayload = 4 << 10
	longestReason  = 2 << 10
	longestScrub   = 64 << 10 // more is cut before it is looked at
)

// bury dead-letters an entry that is no valid job. Whoever waits for the job
// sees it fail.
func (q *Queue) bury(ctx context.Context, e entry, m redis.XMessage, cause error) error {
	now := q.opts.Now()
	reason := scrubReason(cause.Error())
	rec := recorder.Recording{
		ID: e.job.ID, Status: recorder.StatusFailed, EndReason: recorder.EndInvalid,
		Error:     &recorder.Error{Code: recorder.CodeInvalid, Message: reason},
		CreatedAt: e.at().UnixNano(), EndedAt: now.UnixNano(), UpdatedAt: now.UnixNano(),
	}
	// One that was taken before keeps what is known of it.
	if s, err := q.load(ctx, rec.ID); err == nil && s.exists && !s.status.Ended() && s.entry == m.ID {
		cause := rec.Error
		rec = recorder.ConcludeLost(s.rec, cause, recorder.EndInvalid, now.UnixNano())
		rec.UpdatedAt = now.UnixNano()
	}
	payload, _ := m.Values["job"].(string)
	answer, err := q.run(ctx, q.scripts.bury,
		[]string{
			q.keys.dead(), q.keys.jobs(), q.keys.job(rec.ID), q.keys.index(), q.keys.events(), q.keys.commands(rec.ID),
			q.keys.hooks(rec.ID), q.keys.notes(rec.ID),
		},
		group, m.ID, reason, scrubPayload(payload), deadKept, rec.ID, composeRecording(rec),
		rec.UpdatedAt, rec.CreatedAt, millis(rec.CreatedAt), int64(q.opts.Retention/time.Second), eventsKept)
	if err != nil {
		return err
	}
	if integer(answer) == 1 {
		q.log.Warn("an entry is no valid job: dead-lettered",
			zap.String("entry", m.ID), zap.String("job", rec.ID), zap.String("reason", reason))
	}
	return nil
}

func scrubReason(text string) string {
	return clip(recorder.ScrubText(printable(clip(text, longestScrub))), longestReason)
}

// scrubPayload shows what is harmless of a job that will never run. JSON loses
// every text that does not stand under a name known to be harmless; anything
// else loses what looks like a secret.
func scrubPayload(payload string) string {
	var object map[string]any
	if len(payload) <= recorder.LargestJob && json.Unmarshal([]byte(payload), &object) == nil && object != nil {
		return clip(compose(scrubValue("", object)), longestPayload)
	}
	return clip(recorder.ScrubText(printable(clip(payload, longestScrub))), longestPayload)
}

func scrubValue(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if k == "webhooks" {
				e = "{redacted}" // their paths may be secrets
			}
			out[clip(printable(k), 64)] = scrubValue(k, e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = scrubValue(name, e)
		}
		return out
	case string:
		return scrubString(name, v)
	default:
		return v
	}
}

func scrubString(name, v string) string {
	switch name {
	case "id", "room_name", "room_id", "layout", "template", "preset", "filepath", "bucket", "region",
		"max_duration", "start_timeout", "stream_timeout":
		return clip(recorder.ScrubText(printable(v)), 256)
	case "urls":
		if begins(v, "rtmp://", "rtmps://") {
			return recorder.RedactStreamURL(v)
		}
	case "url", "custom_base_url", "livekit_url", "upload_url", "endpoint":
		if begins(v, "http://", "https://", "ws://", "wss://") {
			return recorder.RedactURL(v)
		}
	}
	return "{redacted}"
}

func begins(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// printable replaces what is not text.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, s)
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
