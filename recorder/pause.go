package recorder

// pause leaves out what follows, or goes on, and gives what the recording's own
// goroutine is to note of it. Asking for what is already so changes nothing.
func (l *life) pause(on bool) (account func()) {
	p, ok := l.pipeline.(Pauser)
	if !ok {
		l.Log.Warn("this pipeline cannot be paused")
		return func() {}
	}
	p.Pause(on)
	at := l.Now().UnixNano()
	return func() {
		switch {
		case on == l.rec.Paused():
		case on:
			l.rec.Pauses = append(l.rec.Pauses, Span{Start: at})
		default:
			l.rec.Pauses[len(l.rec.Pauses)-1].End = at
		}
	}
}

func both(a, b func()) func() {
	return func() {
		a()
		b()
	}
}
