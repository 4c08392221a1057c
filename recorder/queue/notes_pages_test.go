package queue_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// The notes of days do not have to come through within the time of one exchange.
func TestNotesComeInPages(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q, c := open(t, r.URL(), testOptions(t, "w1")), client(t, r.URL())
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("days")))
	want, fields := map[string]string{}, []any{}
	for i := range 5000 {
		name := fmt.Sprintf("file/0/part/%d", i)
		want[name] = strings.Repeat("e", 150)
		fields = append(fields, name, want[name])
	}
	require.NoError(t, c.HSet(t.Context(), notesKey+"days", fields...).Err())
	require.NoError(t, c.ConfigResetStat(t.Context()).Err())
	got, err := q.Notes(t.Context(), "days")
	require.NoError(t, err)
	require.Len(t, got, len(want))
	assert.Equal(t, want["file/0/part/4999"], got["file/0/part/4999"])
	stats, err := c.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	pages := regexp.MustCompile(`cmdstat_hscan:calls=(\d+)`).FindStringSubmatch(stats)
	require.Len(t, pages, 2, stats)
	n, err := strconv.Atoi(pages[1])
	require.NoError(t, err)
	assert.GreaterOrEqual(t, n, 5)
}
