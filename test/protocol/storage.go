package protocol

// What workers ask of S3, each exchange one step.

// begin is s3Store.claim: a name that is taken, or uploaded to, is left to its owner. missed
// is a look that did not see the other.
func (m *model) begin(s state, w int, missed bool) {
	me, u := &s.workers[w], &s.uploads[w]
	if me.role != recording || me.upload || me.fenced || u.open || u.done {
		return
	}
	taken := s.key.of != 0
	for i := range s.uploads {
		taken = taken || (i != w && s.uploads[i].open && !s.uploads[i].elsewhere)
	}
	if missed && !taken {
		return
	}
	*u = upload{open: true, elsewhere: taken && !missed}
	me.upload = true
	m.next(s, "begin", w)
}

// grow is the recording: a part of the file is closed, or the file is finalised.
func (m *model) grow(s state, w int) {
	me := &s.workers[w]
	if me.role != recording {
		return
	}
	me.media++
	if me.media == 3 {
		me.role = delivering
		if s.redis.owner == uint8(w+1) && s.redis.fence == me.fence && s.redis.status != ended {
			s.redis.status, s.redis.by, s.redis.armed = ending, uint8(w+1), false // its report
		}
	}
	m.next(s, "grow", w)
}

// send is one part: as the file grows, the first two; then the last, and the first as it
// is now when all others are there.
func (m *model) send(s state, w int, lost bool) {
	me, u := &s.workers[w], &s.uploads[w]
	if !me.upload || me.delivered || me.role == idle || me.role == rescuing || me.role == returned {
		return
	}
	first, second, third := me.first, me.second, me.third
	headerFirst := m.bug("header before the tail")
	switch {
	case me.first == none && me.media >= 1:
		first = grown
		if me.media == 3 && headerFirst {
			first = final
		}
	case headerFirst && me.media == 3 && me.first == grown:
		first = final
	case !me.second && me.media >= 2:
		second = true
	case !me.third && me.media == 3:
		third = true
	case me.first == grown && me.media == 3:
		first = final
	default:
		return
	}
	if !u.open {
		me.upload, me.fenced, me.first, me.second, me.third = false, true, none, false, false
		m.next(s, "send, refused", w)
		return
	}
	u.first, u.second, u.third = first, second, third
	if !lost {
		me.first, me.second, me.third = first, second, third
	}
	m.next(s, "send", w)
}

// sent reports whether everything of the file is there, by the worker's journal.
func (me *worker) sent() bool {
	switch {
	case me.cut:
		return me.first == grown && me.second == (me.media >= 2)
	default:
		return me.media == 3 && me.first == final && me.second && me.third
	}
}

// file is what lies in the worker's spool.
func (me *worker) file(w int) object {
	if me.cut {
		return object{of: uint8(w + 1), first: grown, second: me.media >= 2}
	}
	return object{of: uint8(w + 1), first: final, second: true, third: true}
}

// place makes an object of an upload.
func (m *model) place(s *state, u int, o object) {
	if s.uploads[u].done {
		s.violated = twiceCompleted
	}
	s.uploads[u].open, s.uploads[u].done = false, true
	at := &s.key
	if s.uploads[u].elsewhere {
		at = &s.other[u]
		*at = object{} // there are more numbers
	}
	s.put(at, o)
}

func (s *state) put(at *object, o object) {
	switch {
	case s.violated != fine:
	case at.of != 0:
		s.violated = overwritten
	case !o.plays():
		s.violated = halves
	}
	*at = o
}

// takenBy reports whether a completion is refused, for there is an object (If-None-Match).
func (m *model) taken(s *state, u int) bool {
	return !s.uploads[u].elsewhere && s.key.of != 0 && !m.bug("complete over an object")
}

// complete is growth.finish.
func (m *model) complete(s state, w int, lost bool) {
	me, u := &s.workers[w], &s.uploads[w]
	ready := me.sent() || (m.bug("complete without all parts") && me.first != none)
	if (me.role != delivering && me.role != orphaned) || !me.upload || me.delivered || !ready {
		return
	}
	switch {
	case !u.open && !m.bug("complete twice"):
		me.upload, me.fenced = false, true
	case m.taken(&s, w):
		*u = upload{}
		me.upload, me.fenced = false, true
	default:
		o := object{uint8(w + 1), u.first, u.second, u.third}
		m.place(&s, w, o)
		if s.violated == fine && o != me.file(w) {
			s.violated = inPart
		}
		if !lost {
			me.delivered = true
		}
	}
	m.next(s, "complete", w)
}

// put delivers a file whose upload is gone, or that has none: under its name where that is
// free, unless its own object is there already, else under a numbered one.
func (m *model) put(s state, w int) {
	me := &s.workers[w]
	if me.fenced && m.bug("who is fenced gives up") {
		return
	}
	if (me.role != delivering && me.role != orphaned) || me.delivered || me.upload || me.media == 0 || (me.media < 3 && !me.cut) {
		return
	}
	mine := me.file(w)
	switch {
	case s.key == mine, s.other[w] == mine:
	case s.key.of == 0 || m.bug("deliver over an object"):
		s.put(&s.key, mine)
	default: // under the first number that is free
		s.other[w] = object{}
		s.put(&s.other[w], mine)
	}
	me.delivered = true
	m.next(s, "put", w)
}

// list is the first half of wreck.salvage.
func (m *model) list(s state, w int) {
	me := &s.workers[w]
	if me.role != rescuing || me.listed || me.rescued || me.nothingToBring {
		return
	}
	if me.target == 0 {
		me.target = s.redis.notes.upload
	}
	switch n := int(me.target) - 1; {
	case n < 0:
		me.nothingToBring = true
	case !s.uploads[n].open && m.bug("a rescuer waits for what is gone"):
		return
	case !s.uploads[n].open: // wreck.found
		me.rescued = s.uploads[n].done
		me.nothingToBring = !me.rescued
	case s.uploads[n].first == none || m.bug("a rescuer leaves the upload"):
		me.nothingToBring = true
	default:
		u := s.uploads[n]
		me.listed, me.listFirst, me.listSecond, me.listThird = true, u.first, u.second, u.second && u.third
	}
	m.next(s, "list", w)
}

// rescue is the second half: the storage takes parts that are still as they were
// listed, up to the first that is missing.
func (m *model) rescue(s state, w int) {
	me := &s.workers[w]
	n := int(me.target) - 1
	if me.role != rescuing || !me.listed {
		return
	}
	u := &s.uploads[n]
	o := object{uint8(n + 1), me.listFirst, me.listSecond, me.listThird}
	if m.bug("rescue without ETags") {
		o.first = max(u.first, grown)
	}
	asListed := u.first == o.first && (u.second || !o.second) && (u.third || !o.third)
	me.listed, me.listFirst, me.listSecond, me.listThird = false, none, false, false
	switch {
	case !u.open && !m.bug("rescue what is completed"), !asListed && u.open:
		// listed again
	case m.taken(&s, n) && !m.bug("rescue what is completed"): // two uploads had missed each other: the result tells where this one is
		me.nothingToBring, s.excused = true, true
	default:
		m.place(&s, n, o)
		me.rescued = true
	}
	m.next(s, "rescue", w)
}

// crash takes a process, and leaves its spool. restart brings it back.
func (m *model) crash(s state, w int) {
	me := &s.workers[w]
	if s.crashes == 0 || me.process != up || me.role == idle {
		return
	}
	s.crashes--
	me.process, me.fence = down, 0
	m.next(s, "crash", w)
}

func (m *model) restart(s state, w int) {
	me := &s.workers[w]
	if me.process != down {
		return
	}
	me.process = up
	switch {
	case me.media == 0 || me.role == rescuing:
		s.clear(w)
	default:
		me.role = returned
		me.cut = me.media < 3
	}
	m.next(s, "restart", w)
}
