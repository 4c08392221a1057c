package pipeline

import "time"

// interleavePatience is how much of one stream waits for the other, which may
// have nothing to give. An encoder of one frame a second keeps ten of them.
const interleavePatience = 30 * time.Second

// interleaver puts frames of picture and sound, which come from encoders of
// different delay, in the order of their times.
type interleaver struct {
	both         bool // picture and sound are expected
	video, audio []frame
}

func (i *interleaver) add(f frame) {
	if f.codec.video() {
		i.video = append(i.video, f)
	} else {
		i.audio = append(i.audio, f)
	}
}

// next gives the next frame; false while the other stream's may still come before
// it. Of two at one time the picture is first: it may begin a segment.
func (i *interleaver) next(ended bool) (frame, bool) {
	from := &i.video
	switch {
	case len(i.video)+len(i.audio) == 0:
		return frame{}, false
	case len(i.video) == 0:
		from = &i.audio
	case len(i.audio) > 0 && i.audio[0].pts < i.video[0].pts:
		from = &i.audio
	}
	waits := i.both && !ended && (len(i.video) == 0 || len(i.audio) == 0)
	if waits && (*from)[len(*from)-1].pts-(*from)[0].pts < interleavePatience {
		return frame{}, false
	}
	f := (*from)[0]
	(*from)[0] = frame{} // its bytes are not kept for the rest's sake
	*from = (*from)[1:]
	return f, true
}
