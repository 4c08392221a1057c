package main

import (
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/templates"
)

// roomFlags are the flags that say which room to record, and how it is shown.
type roomFlags struct {
	source      recorder.Source
	screenShare bool
	empty       time.Duration
}

func (r *roomFlags) register(f *pflag.FlagSet) {
	f.StringVar(&r.source.RoomName, "room", "", "LiveKit room to record")
	f.StringVar(&r.source.Layout, "layout", "", "layout of the room's template page (built in: speaker, grid, single-speaker, audio, participant, each also -light and -dark)")
	f.StringVar(&r.source.CustomBaseURL, "base-url", "", "template page of your own (default: the built-in template)")
	f.StringVar(&r.source.LiveKitURL, "livekit-url", "", "LiveKit server, ws:// or wss:// (default: livekit.url of the configuration)")
	f.StringVar(&r.source.Token, "token", "", "recorder token for the room; @file reads it from a file (default: made with livekit.api_key)")
	f.StringVar(&r.source.Identity, "identity", "", "record this one participant of the room")
	f.StringVar(&r.source.AudioTrackID, "audio-track", "", "record this track's sound (TR_…), in place of --identity")
	f.StringVar(&r.source.VideoTrackID, "video-track", "", "record this track's picture (TR_…), in place of --identity")
	f.BoolVar(&r.screenShare, "screen-share", false, "with --identity: only the screen (true) or only camera and microphone (false)")
	f.DurationVar(&r.empty, "empty-timeout", 0, "end when the room has been empty for so long (default 20s)")
}

// apply puts the flags that were given into job.
func (r *roomFlags) apply(f *pflag.FlagSet, job *recorder.Job) error {
	token, err := secretFlag("token", r.source.Token)
	if err != nil {
		return err
	}
	for from, to := range map[*string]*string{
		&r.source.RoomName: &job.RoomName, &r.source.Layout: &job.Layout, &r.source.CustomBaseURL: &job.CustomBaseURL,
		&r.source.LiveKitURL: &job.LiveKitURL, &token: &job.Token, &r.source.Identity: &job.Identity,
		&r.source.AudioTrackID: &job.AudioTrackID, &r.source.VideoTrackID: &job.VideoTrackID,
	} {
		if *from != "" {
			*to = *from
		}
	}
	if f.Changed("screen-share") {
		job.ScreenShare = &r.screenShare
	}
	if f.Changed("empty-timeout") {
		job.Limits.EmptyTimeout = recorder.Duration(r.empty)
	}
	return nil
}

// door lets recorders into the rooms of the configured server.
func (a *app) door() egress.Door {
	l := a.config.LiveKit
	return egress.Door{URL: l.URL, APIKey: l.APIKey, APISecret: l.APISecret}
}

// admit gives the pass of a room that is recorded here and now.
func (a *app) admit(job recorder.Job) (recorder.Pass, error) {
	if job.RoomName == "" {
		return recorder.Pass{}, nil
	}
	return a.door().Admit(job)
}

// serveTemplate serves the built-in template on a free port, for this machine
// only.
func serveTemplate() (url string, stop func(), err error) {
	if err := templates.Built(); err != nil {
		return "", nil, recorder.Errorf(recorder.CodeUnavailable, "%w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, recorder.Errorf(recorder.CodeUnavailable, "serving the built-in template: %w", err)
	}
	server := &http.Server{Handler: templates.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // what but our own Close could end it shows as a page that does not load
	}()
	return "http://" + listener.Addr().String() + "/", func() {
		_ = server.Close()
		<-served
	}, nil
}
