package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/rehearsal"
)

// room is a LiveKit room with people in it, on a server of the demo's own.
type room struct {
	server *rehearsal.Server
	keeper rehearsal.Keeper
	people []*rehearsal.Publisher
}

// person is somebody who publishes: a camera as their browser would encode it.
type person struct {
	name   string
	format rehearsal.Format
	layers bool // simulcast
	hertz  int  // of their voice
}

func people() []person {
	return []person{
		{name: "Ada · VP8", format: rehearsal.Format{Codec: recorder.ClipVP8}, hertz: 210},
		{name: "Linus · H.264", format: rehearsal.Format{Codec: recorder.ClipH264}, hertz: 120},
		{name: "Grace · VP8 simulcast", format: rehearsal.Format{Codec: recorder.ClipVP8, Width: 1280, Height: 720}, layers: true, hertz: 170},
	}
}

// runRoom records a room, changes the layout halfway and closes the room.
func (d *demo) runRoom(ctx context.Context) error {
	r, err := openRoom(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	name := "demo-room-" + time.Now().Format("150405")
	ingest, err := d.startIngest(ctx)
	if err != nil {
		return err
	}
	defer ingest.close()
	worker, err := d.startWorker(ctx, r.environment()...)
	if err != nil {
		return err
	}
	defer endWorker(worker)
	key := name + "-rtmp" // of another name than the file, or that is hidden like a stream key
	if err := d.recordRoom(ctx, r, name, ingest.url(key)); err != nil {
		return err
	}
	for _, file := range []string{name + ".mp4", key + ".flv"} {
		if err := d.show(ctx, filepath.Join(d.out, file), 4, 2); err != nil {
			return err
		}
	}
	return nil
}

func openRoom(ctx context.Context) (*room, error) {
	step("room", "starting a LiveKit server, drawing and encoding its people")
	server, err := rehearsal.StartServer(ctx, rehearsal.ServerOptions{})
	if err != nil {
		return nil, err
	}
	r := &room{server: server, people: make([]*rehearsal.Publisher, len(people()))}
	r.keeper = rehearsal.Keeper{URL: server.URL(), APIKey: server.APIKey, APISecret: server.APISecret, Room: "demo"}
	studio := rehearsal.NewStudio(pipeline.ClipEncoder{})
	var all errgroup.Group
	for i, p := range people() {
		all.Go(func() error { return r.bring(ctx, studio, i, p) })
	}
	if err := all.Wait(); err != nil {
		r.close()
		return nil, err
	}
	fmt.Printf("    %s: room %q\n", server.URL(), r.keeper.Room)
	for _, p := range people() {
		fmt.Println("   ", p.name)
	}
	return r, nil
}

func (r *room) bring(ctx context.Context, studio *rehearsal.Studio, i int, p person) error {
	camera, err := p.camera(ctx, studio, i)
	if err != nil {
		return err
	}
	voice, err := studio.Sound(ctx, rehearsal.Turn(i, len(r.people), p.hertz))
	if err != nil {
		return err
	}
	r.people[i], err = rehearsal.Join(ctx, rehearsal.Participant{
		URL: r.server.URL(), APIKey: r.server.APIKey, APISecret: r.server.APISecret, Room: r.keeper.Room,
		Identity: fmt.Sprintf("person-%d", i+1), Name: p.name,
	})
	if err != nil {
		return err
	}
	if _, err := r.people[i].PublishCamera(camera...); err != nil {
		return err
	}
	_, err = r.people[i].PublishMicrophone(voice)
	return err
}

func (p person) camera(ctx context.Context, studio *rehearsal.Studio, number int) ([]*rehearsal.Clip, error) {
	name, _, _ := strings.Cut(p.name, " ")
	scene := rehearsal.Presenter(name, number)
	if p.layers {
		return studio.Layers(ctx, scene, p.format)
	}
	clip, err := studio.Pictures(ctx, scene, p.format)
	return []*rehearsal.Clip{clip}, err
}

func (r *room) close() {
	for _, p := range r.people {
		if p != nil {
			p.Leave()
		}
	}
	r.server.Close()
}

// environment configures the worker for the server. Chrome leaves out loopback
// addresses without the flag.
func (r *room) environment() []string {
	return []string{
		"TAPEDECK_LIVEKIT_URL=" + r.server.URL(), "TAPEDECK_LIVEKIT_API_KEY=" + r.server.APIKey, "TAPEDECK_LIVEKIT_API_SECRET=" + r.server.APISecret,
		"TAPEDECK_CHROME_FLAGS=--allow-loopback-in-peer-connection",
	}
}

// recordRoom enqueues the room and does to it what happens to rooms, while the
// job is watched.
func (d *demo) recordRoom(ctx context.Context, r *room, name, ingest string) error {
	args := []string{"--room", r.keeper.Room, "--layout", "grid", "--file", name + ".mp4", "--no-manifest", "--rtmp", ingest}
	step("job", append([]string{d.binary, "enqueue"}, args...)...)
	id, err := d.verb(ctx, append([]string{"enqueue"}, args...)...).Output()
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	job := strings.TrimSpace(string(id))
	ctx, cancel := context.WithCancel(ctx)
	var watching errgroup.Group
	watching.Go(func() error { return d.watch(ctx, job) })
	defer func() {
		cancel()
		_ = watching.Wait() // it has been waited for, unless there is another error
	}()
	if err := d.awaitActive(ctx, job); err != nil {
		return err
	}
	if err := d.halfway(ctx); err != nil {
		return err
	}
	step("halfway", d.binary, "update", job, "--layout speaker")
	update := d.verb(ctx, "update", job, "--layout", "speaker")
	update.Stdout = os.Stdout
	if err := update.Run(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if err := d.halfway(ctx); err != nil {
		return err
	}
	step("end", "the room is deleted, which is how meetings end")
	if err := r.keeper.Delete(ctx); err != nil {
		return err
	}
	if err := watching.Wait(); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return d.printEnd(ctx, job)
}

// halfway lets half of the recording pass.
func (d *demo) halfway(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(d.seconds) * time.Second / 2):
		return nil
	}
}

func (d *demo) awaitActive(ctx context.Context, job string) error {
	for {
		rec, err := d.find(ctx, job)
		switch {
		case err != nil:
			return err
		case rec.Status.Ended():
			return fmt.Errorf("the job is %s before it recorded: see its last event", rec.Status)
		case rec.Status == recorder.StatusActive:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *demo) find(ctx context.Context, job string) (rec recorder.Recording, err error) {
	out, err := d.verb(ctx, "list", job, "--json").Output()
	if err != nil {
		return rec, fmt.Errorf("list: %w", err)
	}
	return rec, json.Unmarshal(out, &rec)
}

func (d *demo) printEnd(ctx context.Context, job string) error {
	rec, err := d.find(ctx, job)
	if err != nil {
		return err
	}
	fmt.Printf("\n    status: %s    end reason: %s    layout at the end: %s\n", rec.Status, rec.EndReason, rec.Layout)
	if rec.Status != recorder.StatusComplete {
		return fmt.Errorf("the recording is %s: see its last event", rec.Status)
	}
	return nil
}
