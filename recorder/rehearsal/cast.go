package rehearsal

import (
	"context"
	"fmt"
	"strconv"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"tapedeck/recorder"
)

// Casting is who is to be in a room.
type Casting struct {
	Size   int    // how many; 0 to MostPublishers
	Codec  string // recorder.ClipVP8 or recorder.ClipH264
	Screen bool   // the first one shares a screen
	Log    *zap.Logger
}

// MostPublishers is how many a cast may be: what the built-in template shows at once.
const MostPublishers = 49

// Cast is participants with a camera who speak in turn.
type Cast struct {
	// Names are shown; identities are "publisher-1" and so on.
	Names, Identities []string

	publishers []*Publisher
}

// names are those of the first participants; those who come after are numbered.
func names(n int) []string {
	known := []string{"Ada", "Grace", "Linus", "Margaret", "Alan", "Радия", "Yukihiro 行弘", "Fatima فاطمة", "Barbara"}
	all := make([]string, n)
	for i := range all {
		if all[i] = "Guest " + strconv.Itoa(i+1); i < len(known) {
			all[i] = known[i]
		}
	}
	return all
}

// Assemble brings a cast into the keeper's room. It returns when everybody
// publishes; on an error, nobody is left there.
func Assemble(ctx context.Context, studio *Studio, k Keeper, c Casting) (*Cast, error) {
	if c.Size < 0 || c.Size > MostPublishers {
		return nil, recorder.Errorf(recorder.CodeInvalid, "publishers: %d: use 0 to %d", c.Size, MostPublishers)
	}
	cast := &Cast{Names: names(c.Size), publishers: make([]*Publisher, c.Size)}
	for i := range c.Size {
		cast.Identities = append(cast.Identities, fmt.Sprintf("publisher-%d", i+1))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4) // clips are encoded at once, and that takes a processor each
	for i := range c.Size {
		group.Go(func() error { return cast.bring(ctx, studio, k, c, i) })
	}
	if err := group.Wait(); err != nil {
		cast.Leave()
		return nil, err
	}
	return cast, nil
}

func (c *Cast) bring(ctx context.Context, studio *Studio, k Keeper, casting Casting, i int) error {
	const lowest, step = 110, 35 // hertz: voices that can be told apart
	camera, err := studio.Layers(ctx, Presenter(c.Names[i], i), Format{Codec: casting.Codec})
	if err != nil {
		return err
	}
	voice, err := studio.Sound(ctx, Turn(i, casting.Size, lowest+step*(i%9)))
	if err != nil {
		return err
	}
	p, err := Join(ctx, Participant{
		URL: k.URL, APIKey: k.APIKey, APISecret: k.APISecret, Room: k.Room,
		Identity: c.Identities[i], Name: c.Names[i], Log: casting.Log,
	})
	if err != nil {
		return err
	}
	c.publishers[i] = p
	var screen *Clip
	if casting.Screen && i == 0 {
		screen, err = studio.Pictures(ctx, Screen(c.Names[i]+"'s screen"), Format{Codec: casting.Codec, Width: 1280, Height: 720, Framerate: 10})
		if err != nil {
			return err
		}
	}
	return publishAll(p, camera, voice, screen) //nolint:contextcheck // tracks live as long as their publisher
}

func publishAll(p *Publisher, camera []*Clip, voice, screen *Clip) error {
	if _, err := p.PublishCamera(camera...); err != nil {
		return err
	}
	if _, err := p.PublishMicrophone(voice); err != nil {
		return err
	}
	if screen == nil {
		return nil
	}
	_, err := p.PublishScreen(screen)
	return err
}

// Leave sends everybody home.
func (c *Cast) Leave() {
	var group errgroup.Group
	for _, p := range c.publishers {
		if p != nil {
			group.Go(func() error { p.Leave(); return nil })
		}
	}
	_ = group.Wait()
}
