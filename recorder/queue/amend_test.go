package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func file(name string, state recorder.FileState) recorder.FileResult {
	return recorder.FileResult{Filename: name, State: state}
}

func files(list ...recorder.FileResult) []recorder.FileResult { return list }

func playlist(name string, n int64) []recorder.SegmentsResult {
	return []recorder.SegmentsResult{{PlaylistName: name, SegmentCount: n, Series: recorder.Series{State: recorder.FileDelivered}}}
}

func TestAmendParts(t *testing.T) {
	t.Parallel()
	const pending, delivered, refused = recorder.FilePending, recorder.FileDelivered, recorder.FileRefused
	for name, c := range map[string]struct{ rec, late, want recorder.Recording }{
		"of one part": {
			rec:  recorder.Recording{Part: 1, Files: files(file("a", pending))},
			late: recorder.Recording{Part: 1, Files: files(file("a", delivered), file("b", delivered))},
			want: recorder.Recording{Part: 1, Files: files(file("a", delivered), file("b", delivered))},
		},
		"part 1 as it was before parts were told": {
			rec:  recorder.Recording{Files: files(file("a", pending))},
			late: recorder.Recording{Files: files(file("a", delivered))},
			want: recorder.Recording{Part: 1, Files: files(file("a", delivered))},
		},
		"an earlier one": {
			rec: recorder.Recording{Part: 2, Files: files(file("a.part2", delivered)), Earlier: []recorder.Part{
				{Part: 1, Worker: "w1", EndedAt: 5, Files: files(file("a", pending))},
			}},
			late: recorder.Recording{Part: 1, Worker: "w1", StartedAt: 1, EndedAt: 7, Files: files(file("a-2", delivered))},
			want: recorder.Recording{Part: 2, Files: files(file("a.part2", delivered)), Earlier: []recorder.Part{
				{Part: 1, Worker: "w1", StartedAt: 1, EndedAt: 7, Files: files(file("a", pending), file("a-2", delivered))},
			}},
		},
		"an earlier one that nobody told of": {
			rec: recorder.Recording{Part: 3, Files: files(file("a.part3", delivered)), Earlier: []recorder.Part{
				{Part: 2, Files: files(file("a.part2", delivered))},
			}},
			late: recorder.Recording{Part: 1, Worker: "w1", Attempt: 1, EndReason: recorder.EndLeaseLost, Files: files(file("a", delivered))},
			want: recorder.Recording{Part: 3, Files: files(file("a.part3", delivered)), Earlier: []recorder.Part{
				{Part: 1, Worker: "w1", Attempt: 1, EndReason: recorder.EndLeaseLost, Files: files(file("a", delivered))},
				{Part: 2, Files: files(file("a.part2", delivered))},
			}},
		},
		"a file that is known under another number": {
			rec: recorder.Recording{Part: 2, Files: files(file("a.part2", pending)), Earlier: []recorder.Part{
				{Part: 1, Files: files(file("a", pending))},
			}},
			late: recorder.Recording{Part: 2, Files: files(file("a", delivered))},
			want: recorder.Recording{Part: 2, Files: files(file("a.part2", pending)), Earlier: []recorder.Part{
				{Part: 1, Files: files(file("a", delivered))},
			}},
		},
		"what another worker delivered": {
			rec:  recorder.Recording{Part: 2, Earlier: []recorder.Part{{Part: 1, Files: files(file("a", delivered))}}},
			late: recorder.Recording{Part: 1, Files: files(file("a", refused))},
			want: recorder.Recording{Part: 2, Earlier: []recorder.Part{{Part: 1, Files: files(file("a", delivered))}}},
		},
		"a playlist that two parts share": {
			rec:  recorder.Recording{Part: 2, Segments: playlist("p", 9), Earlier: []recorder.Part{{Part: 1, Segments: playlist("p", 3)}}},
			late: recorder.Recording{Part: 1, Segments: playlist("p", 4)},
			want: recorder.Recording{Part: 2, Segments: playlist("p", 9), Earlier: []recorder.Part{{Part: 1, Segments: playlist("p", 4)}}},
		},
		"parts of a worker that went on alone": {
			rec: recorder.Recording{Part: 1, Worker: "w1", StartedAt: 1, EndedAt: 2, EndReason: recorder.EndWorkerLost, Files: files(file("a", pending))},
			late: recorder.Recording{
				Part: 2, Worker: "w1", StartedAt: 5, EndedAt: 9, Files: files(file("a.part2", delivered)),
				Earlier: []recorder.Part{{Part: 1, Worker: "w1", StartedAt: 1, EndedAt: 4, Files: files(file("a", delivered))}},
			},
			want: recorder.Recording{
				Part: 2, Worker: "w1", StartedAt: 5, EndedAt: 9, EndReason: recorder.EndWorkerLost, Files: files(file("a.part2", delivered)),
				Earlier: []recorder.Part{{Part: 1, Worker: "w1", StartedAt: 1, EndedAt: 4, Files: files(file("a", delivered))}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := composeRecording(c.late)
			rec := c.rec.Clone()
			amend(&rec, c.late)
			assert.Equal(t, c.want, rec)
			assert.Equal(t, before, composeRecording(c.late), "what was given is left alone")
			again := rec.Clone()
			amend(&again, c.late)
			assert.Equal(t, rec, again, "twice is once")
		})
	}
}

func TestScrubParts(t *testing.T) {
	t.Parallel()
	const secret = "https://u:hunter2@storage/x?token=hunter2"
	late := recorder.Recording{
		Error:     &recorder.Error{Code: recorder.CodePipeline, Message: secret}, // of a part that the job may not know
		Files:     []recorder.FileResult{{Error: secret, Location: secret, ManifestLocation: secret}},
		Incidents: []recorder.Incident{{Reason: recorder.EndBrowserDied, Text: secret}},
		Segments:  []recorder.SegmentsResult{{PlaylistLocation: secret, Series: recorder.Series{Error: secret, ManifestLocation: secret}}},
		Earlier: []recorder.Part{{
			Part: 1, Error: &recorder.Error{Code: recorder.CodePipeline, Message: secret},
			Files:    []recorder.FileResult{{Error: secret}},
			Segments: []recorder.SegmentsResult{{LivePlaylistLocation: secret}},
			Images:   []recorder.ImagesResult{{Series: recorder.Series{Error: secret, ManifestLocation: secret}}},
		}},
	}
	before := composeRecording(late)
	assert.NotContains(t, composeRecording(scrubResults(late, recorder.ScrubText)), "hunter2")
	assert.Equal(t, before, composeRecording(late))

	job := recordertest.WebJob("x")
	job.Token = "s3cr3t-t0ken"
	l := &lease{q: &Queue{}, scrub: recorder.NewScrubber(job)}
	rec := recorder.Recording{
		Incidents: []recorder.Incident{{Text: "s3cr3t-t0ken"}},
		Earlier:   []recorder.Part{{Error: recorder.Errorf(recorder.CodeUpload, "s3cr3t-t0ken"), Files: []recorder.FileResult{{Error: "s3cr3t-t0ken"}}}},
	}
	require.NotContains(t, composeRecording(l.own(rec)), "s3cr3t")
}

func TestNoteworthyParts(t *testing.T) {
	t.Parallel()
	base := recorder.Recording{
		Files:     files(file("b", recorder.FileRecording)),
		Earlier:   []recorder.Part{{Part: 1, Files: files(file("a", recorder.FilePending)), Segments: playlist("p", 1)}},
		Incidents: []recorder.Incident{{Reason: recorder.EndBrowserDied, At: 1}},
		Pauses:    []recorder.Span{{Start: 1}},
	}
	for name, c := range map[string]struct {
		change func(*recorder.Recording)
		event  bool
	}{
		"nothing":                   {func(*recorder.Recording) {}, false},
		"a size":                    {func(r *recorder.Recording) { r.Files[0].Size++ }, false},
		"a size of an earlier part": {func(r *recorder.Recording) { r.Earlier[0].Files[0].Size++ }, false},
		"segments of an earlier":    {func(r *recorder.Recording) { r.Earlier[0].Segments[0].SegmentCount++ }, false},
		"an earlier file arrives":   {func(r *recorder.Recording) { r.Earlier[0].Files[0].State = recorder.FileDelivered }, true},
		"an error of a part":        {func(r *recorder.Recording) { r.Earlier[0].Error = recorder.Errorf(recorder.CodeUpload, "x") }, true},
		"a further part":            {func(r *recorder.Recording) { r.Earlier = append(r.Earlier, recorder.Part{Part: 2}) }, true},
		"a further incident":        {func(r *recorder.Recording) { r.Meet(recorder.Incident{Reason: recorder.EndSoundDied}) }, true},
		"what an incident cost":     {func(r *recorder.Recording) { r.Incidents[0].Lost = 3 }, true},
		"the end of a pause":        {func(r *recorder.Recording) { r.Pauses[0].End = 2 }, true},
		"a further pause":           {func(r *recorder.Recording) { r.Pauses = append(r.Pauses, recorder.Span{Start: 3}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			after := base.Clone()
			c.change(&after)
			assert.Equal(t, c.event, noteworthy(base, after))
		})
	}
}
