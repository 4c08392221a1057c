//go:build bench

package bench

import (
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

// roomRate is the frame rate of publishers and of recordings, so that each picture
// should be recorded once. The others are the size of the publishers' pictures.
const roomRate, roomWidth, roomHeight = 30, 640, 360

// roomCase is one recording of a room. Its tiles are where the built-in template
// shows publishers at 1280x720, of many the first, the middle one and the last.
type roomCase struct {
	size   int
	layout string
	tiles  []recordertest.Tile
}

func roomCases() []roomCase {
	return []roomCase{
		{size: 1, layout: "grid", tiles: []recordertest.Tile{recordertest.FilledTile(14, 8, 1251, 703)}},
		{size: 3, layout: "grid", tiles: []recordertest.Tile{
			unscaledTile(18, 9, 618, 347), unscaledTile(644, 9, 618, 347), unscaledTile(331, 364, 618, 347),
		}},
		{size: 3, layout: "speaker", tiles: []recordertest.Tile{
			recordertest.FilledTile(8, 8, 1018, 704), recordertest.FilledTile(1034, 222, 238, 134), recordertest.FilledTile(1034, 364, 238, 134),
		}},
		{size: 9, layout: "grid", tiles: []recordertest.Tile{
			recordertest.FilledTile(21, 10, 407, 228), recordertest.FilledTile(436, 246, 407, 228), recordertest.FilledTile(851, 482, 407, 228),
		}},
		{size: 25, layout: "grid", tiles: []recordertest.Tile{
			recordertest.FilledTile(29, 11, 238, 133), recordertest.FilledTile(521, 293, 238, 133), recordertest.FilledTile(1013, 575, 238, 133),
		}},
	}
}

// unscaledTile shows the middle of a picture that is a little larger than the tile.
func unscaledTile(x, y, width, height int) recordertest.Tile {
	shown := image.Rect(x, y, x+width, y+height)
	corner := shown.Min.Add(image.Pt((width-roomWidth)/2, (height-roomHeight)/2))
	return recordertest.Tile{Shown: shown, Camera: image.Rectangle{Min: corner, Max: corner.Add(image.Pt(roomWidth, roomHeight))}}
}

// TestRooms records rooms of a real server with the built-in template, and prints what
// that took. Publishers and server run on the same machine, and are counted apart. A
// run says little of exactness when others used more than a few seconds meanwhile.
func TestRooms(t *testing.T) {
	server, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{Binary: livekitServer(t)})
	require.NoError(t, err)
	defer server.Close()
	studio := rehearsal.NewStudio(pipeline.ClipEncoder{})
	fmt.Printf("# %d cores, %s, 1280x720@%d, publishers 640x360@30 VP8, CPU in seconds per 30 s of recording\n\n%s",
		runtime.NumCPU(), runtime.Version(), roomRate, roomHeader)
	var exactness []string
	for _, c := range roomCases() {
		t.Run(fmt.Sprintf("%d %s", c.size, c.layout), func(t *testing.T) {
			exactness = append(exactness, measureRoom(t, server, studio, c)...)
		})
	}
	fmt.Println()
	for _, line := range exactness {
		fmt.Println(line)
	}
}

const roomHeader = "publishers, layout  Chrome   x264   Xvfb  Pulse  tapedeck   all  all/Chrome  all/x264  to first frame  | publishers  server  others\n"

func measureRoom(t *testing.T, server *rehearsal.Server, studio *rehearsal.Studio, c roomCase) []string {
	room := fmt.Sprintf("room-%d-%s", c.size, c.layout)
	defer leaveAll(fill(t, server, studio, room, c.size))
	own, theirs := ownSeconds(t), serverSeconds(t)
	began := time.Now()
	take := record(t, roomEnvironment(server), "--room", room, "--layout", c.layout)
	outside := 30 / time.Since(began).Seconds()
	per30 := 30 / take.span.Seconds()
	u := take.used
	all := u[chrome] + u[x264] + u[xvfb] + u[pulse] + u[ours]
	publishers, sfu := (ownSeconds(t)-own)*outside, (serverSeconds(t)-theirs)*outside
	fmt.Printf("%2d %-16s %6.1f %6.1f %6.1f %6.1f %9.1f %5.1f %11.2f %9.2f %15v  | %10.1f %7.1f %7.1f\n", c.size, c.layout,
		u[chrome]*per30, u[x264]*per30, u[xvfb]*per30, u[pulse]*per30, u[ours]*per30, all*per30, all/u[chrome], all/u[x264],
		take.toFirstFrame(), publishers, sfu, (take.machine-all)*per30-publishers-sfu)
	return exactnessOf(t, c, take.file)
}

// exactnessOf says how exact each tile is: all publishers show the same picture, whose
// flashes belong to the first one's beeps.
func exactnessOf(t *testing.T, c roomCase, file string) (lines []string) {
	beeps := recordertest.BeepOnsetsAmongTones(t, file)
	for i, tile := range recordertest.ReadTiles(t, file, c.tiles...) {
		frames := recordertest.Frames(tile)
		behind := behindBeeps(recordertest.FlashOnsets(frames), beeps)
		require.NotEmpty(t, behind, "flashes of tile %d", i)
		steady := slices.Sorted(slices.Values(behind[1:]))
		lines = append(lines, fmt.Sprintf("%d %s, tile %d: picture behind sound %v at first, then %v to %v, median %v, over %d beeps; %v",
			c.size, c.layout, i, behind[0], steady[0], steady[len(steady)-1], steady[len(steady)/2], len(beeps),
			recordertest.CadenceOf(frames, roomRate*rehearsal.PictureLoop)))
	}
	return lines
}

// behindBeeps gives how long after the nearest beep each flash is.
func behindBeeps(flashes, beeps []time.Duration) (behind []time.Duration) {
	for _, f := range flashes {
		nearest := time.Hour
		for _, b := range beeps {
			if d := f - b; d.Abs() < nearest.Abs() {
				nearest = d
			}
		}
		behind = append(behind, nearest.Round(time.Millisecond))
	}
	return behind
}

// fewEnough is up to how many publish one size only and all make themselves heard.
const fewEnough = 3

// fill brings publishers into a room. They share one picture; the first one beeps with
// it. A few sound tones that leave the beeps alone; of many, the others speak in turn,
// as people do, and all publish in three sizes, as browsers do.
func fill(t *testing.T, server *rehearsal.Server, studio *rehearsal.Studio, room string, size int) (all []*rehearsal.Publisher) {
	t.Helper()
	camera := pictures(t, studio, size > fewEnough)
	for i := range size {
		p, err := rehearsal.Join(t.Context(), rehearsal.Participant{
			URL: server.URL(), APIKey: server.APIKey, APISecret: server.APISecret, Room: room,
			Identity: fmt.Sprintf("publisher-%d", i+1), Name: fmt.Sprintf("Publisher %d", i+1),
		})
		require.NoError(t, err)
		all = append(all, p)
		_, err = p.PublishCamera(camera...)
		require.NoError(t, err)
		voice, err := studio.Sound(t.Context(), voiceOf(i, size))
		require.NoError(t, err)
		_, err = p.PublishMicrophone(voice)
		require.NoError(t, err)
	}
	return all
}

func leaveAll(publishers []*rehearsal.Publisher) {
	for _, p := range publishers {
		p.Leave()
	}
}

func pictures(t *testing.T, studio *rehearsal.Studio, simulcast bool) []*rehearsal.Clip {
	t.Helper()
	format := rehearsal.Format{Codec: recorder.ClipVP8, Width: roomWidth, Height: roomHeight, Framerate: roomRate}
	if simulcast {
		layers, err := studio.Layers(t.Context(), rehearsal.Measuring(), format)
		require.NoError(t, err)
		return layers
	}
	clip, err := studio.Pictures(t.Context(), rehearsal.Measuring(), format)
	require.NoError(t, err)
	return []*rehearsal.Clip{clip}
}

func voiceOf(i, size int) rehearsal.Sound {
	const low, step = 400, 1500 // see recordertest.BeepOnsetsAmongTones
	switch {
	case i == 0:
		return rehearsal.Beeps()
	case size > fewEnough:
		return rehearsal.Turn(i, size, 110+35*(i%9))
	default:
		return rehearsal.Tone(low + step*(i-1))
	}
}

// roomEnvironment configures who records the server's rooms. Chrome leaves out
// loopback addresses without the flag.
func roomEnvironment(server *rehearsal.Server) []string {
	return []string{
		"TAPEDECK_LIVEKIT_URL=" + server.URL(), "TAPEDECK_LIVEKIT_API_KEY=" + server.APIKey, "TAPEDECK_LIVEKIT_API_SECRET=" + server.APISecret,
		"TAPEDECK_CHROME_FLAGS=--allow-loopback-in-peer-connection",
	}
}

func livekitServer(t *testing.T) string {
	t.Helper()
	if found, err := exec.LookPath("livekit-server"); err == nil {
		return found
	}
	built, err := filepath.Abs("../../build/bin/livekit-server")
	require.NoError(t, err)
	require.FileExists(t, built, "build it with `make tools`")
	return built
}

// ownSeconds is the CPU of this process, which publishes.
func ownSeconds(t *testing.T) float64 {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// serverSeconds is the CPU of the LiveKit server, a child of ours.
func serverSeconds(t *testing.T) (sum float64) {
	t.Helper()
	pids, err := descendants(os.Getpid())
	require.NoError(t, err)
	for _, pid := range pids {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == "livekit-server" {
			sum += processSeconds(pid)
		}
	}
	return sum
}
