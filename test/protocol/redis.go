package protocol

// The scripts of recorder/queue, each one step.

// standing is standing_of.
func (m *model) standing(s *state, w int) int {
	r, me := &s.redis, &s.workers[w]
	switch {
	case r.status == ended:
		return 0
	case r.owner == uint8(w+1) && r.fence == me.fence:
		return 1
	case r.fence < me.fence && !m.bug("restore never"):
		return -1
	default:
		return 0
	}
}

// obeyed notes when a script did what a lease asked that is not the job's.
func (s *state) obeyed(w int) {
	if s.redis.status == ended || s.redis.owner != uint8(w+1) || s.redis.fence != s.workers[w].fence {
		s.violated = oldObeyed
	}
}

// grant gives the job to a worker.
func (s *state) grant(w int) {
	r := &s.redis
	r.fence++
	r.owner, r.lapsed, r.armed = uint8(w+1), false, false
	s.workers[w].fence = r.fence
}

// claim is take.lua: an idle worker takes what is queued, or has lapsed.
func (m *model) claim(s state, w int, lost bool) {
	r, me := &s.redis, &s.workers[w]
	if r.status != queued && m.bug("nobody takes over") {
		return
	}
	if me.role != idle || s.claims == 0 || r.status == ended {
		return
	}
	if r.status != queued && !r.lapsed && !m.bug("takeover without expiry") {
		return
	}
	if r.owner != 0 && !r.lapsed {
		s.violated = takenFromLiving
	}
	s.claims--
	was := r.status
	s.grant(w)
	if was == queued {
		r.status = starting
	}
	switch {
	case lost: // the worker never learns that it has the job
		me.fence = 0
	case was == active || was == ending:
		me.role = rescuing
	default:
		me.role = recording
	}
	m.next(s, "claim", w)
}

// adopt is take.lua for a worker that found its own spool.
func (m *model) adopt(s state, w int) {
	r, me := &s.redis, &s.workers[w]
	if me.role != returned {
		return
	}
	if m.bug("a spool is not taken up") {
		return
	}
	others := r.status >= active && r.by != uint8(w+1) && !m.bug("a spool stands for what another recorded")
	if r.status == ended || r.status == queued || (r.owner != uint8(w+1) && !r.lapsed) || others {
		me.role = orphaned // what others recorded is claimed and rescued, beside its own delivery
	} else {
		s.grant(w)
		me.role, r.status, r.by = delivering, ending, uint8(w+1)
	}
	m.next(s, "adopt", w)
}

// heartbeat is renew.lua, restore.lua, and what a lease does at the answers.
func (m *model) heartbeat(s state, w int) {
	r, me := &s.redis, &s.workers[w]
	if me.fence == 0 {
		return
	}
	standing := m.standing(&s, w)
	if m.bug("heartbeat without fence") && r.status != ended {
		s.obeyed(w)
		standing = 1
	}
	switch standing {
	case 1:
		if r.lapsed {
			r.armed = r.armed && m.bug("renewal without revision")
		}
		r.lapsed = false
	case -1:
		*r = redis{status: statusOf(me), owner: uint8(w + 1), fence: me.fence, by: r.by, notes: r.notes, ends: r.ends, told: r.told}
		if me.media > 0 {
			r.by = uint8(w + 1)
		}
		if me.upload {
			r.notes = notes{uint8(w + 1), me.first}
		}
	default:
		s.lose(w)
	}
	m.next(s, "heartbeat", w)
}

func statusOf(me *worker) uint8 {
	switch {
	case me.role == recording && me.media == 0:
		return starting
	case me.role == recording || me.role == rescuing:
		return active
	default:
		return ending
	}
}

// lose is what a worker does that learns that another has its job: what it
// recorded is finalised, and delivered on its own.
func (s *state) lose(w int) {
	me := &s.workers[w]
	me.fence = 0
	switch me.role {
	case recording, delivering:
		me.role = orphaned
		if me.media > 0 && !me.cut {
			me.media = 3
		}
		if me.media == 0 {
			s.clear(w)
		}
	default:
		s.clear(w)
	}
}

// reportActive is report.lua.
func (m *model) reportActive(s state, w int) {
	r, me := &s.redis, &s.workers[w]
	if me.role != recording || me.media == 0 || r.status == active || r.status == ending {
		return
	}
	switch standing := m.standing(&s, w); {
	case standing == 1 || (m.bug("report without fence") && r.status != ended):
		s.obeyed(w)
		r.status, r.by, r.armed = active, uint8(w+1), false
	case standing == 0:
		s.lose(w)
	default:
		return // restore comes first
	}
	m.next(s, "report", w)
}

// note is note.lua.
func (m *model) note(s state, w int) {
	r, me := &s.redis, &s.workers[w]
	mine := notes{uint8(w + 1), me.first}
	if r.status == starting {
		mine.first = none // the report of the first frame is some seconds before the first part
	}
	if (me.role != recording && me.role != delivering) || me.fence == 0 || !me.upload || r.notes == mine {
		return
	}
	switch standing := m.standing(&s, w); {
	case standing == 1 || (m.bug("note without fence") && r.status != ended):
		s.obeyed(w)
		r.notes = mine
	case standing == 0:
		s.lose(w)
	default:
		return
	}
	m.next(s, "note", w)
}

// finish is finish.lua of an owner.
func (m *model) finish(s state, w int, lost bool) {
	r, me := &s.redis, &s.workers[w]
	over := (me.role == delivering && me.delivered) || (me.role == rescuing && (me.rescued || me.nothingToBring))
	if !over || me.fence == 0 {
		return
	}
	standing := m.standing(&s, w)
	if m.bug("finish without fence") {
		if standing != 1 {
			s.violated = oldObeyed
		}
		standing = 1
	}
	told := me.delivered || me.rescued
	switch standing {
	case 1:
		r.status, r.owner, r.lapsed, r.armed, r.told = ended, 0, false, false, told
		if r.ends++; r.ends > 1 {
			s.violated = twiceEnded
		}
		if !lost {
			s.free(w)
		} else if me.role == rescuing {
			s.clear(w) // it asks again and is told, or dies: it holds nothing
		} else {
			me.role, me.fence = orphaned, 0 // the result is there already
		}
	case 0:
		if me.role == rescuing {
			s.clear(w)
		} else {
			me.role, me.fence = orphaned, 0
		}
	default:
		return
	}
	m.next(s, "finish", w)
}

// free removes a spool entry.
func (s *state) free(w int) {
	me := &s.workers[w]
	if me.media > 0 && !me.delivered {
		s.violated = freedUndelivered
	}
	s.clear(w)
}

// amend is amend.lua: it waits for the job's end.
func (m *model) amend(s state, w int) {
	me := &s.workers[w]
	if me.role == orphaned && me.delivered { // its slot is free long since
		s.free(w)
		me.late = true
		m.next(s, "wait to amend", w)
		return
	}
	if me.late && s.redis.status == ended {
		s.redis.told, me.late = true, false
		m.next(s, "amend", w)
	}
}

// clear is a worker that has nothing to do.
func (s *state) clear(w int) {
	me := &s.workers[w]
	*me = worker{process: me.process, late: me.late}
}

// lapse is time: nobody renewed for as long as a lease is.
func (m *model) lapse(s state) {
	if s.redis.lapsed || s.redis.owner == 0 || s.redis.status == ended {
		return
	}
	if m.calm && m.renews(&s) || !m.calm && s.lapses == 0 {
		return
	}
	if !m.calm {
		s.lapses--
	}
	s.redis.lapsed = true
	m.next(s, "lapse", -1)
}

// look and reap are a process that watches: it ends what has lapsed for long, unless
// the job's revision changed since it looked.
func (m *model) look(s state) {
	if r := &s.redis; r.lapsed && !r.armed && r.status != ended && !m.awaited(&s) {
		r.armed = true
		m.next(s, "look", -1)
	}
}

func (m *model) reap(s state) {
	r := &s.redis
	if !r.armed || r.status == ended || m.awaited(&s) {
		return
	}
	if !r.lapsed {
		s.violated = endedOnLiving
	}
	r.status, r.owner, r.lapsed, r.armed = ended, 0, false, false
	if r.ends++; r.ends > 1 {
		s.violated = twiceEnded
	}
	s.excused = true
	m.next(s, "reap", -1)
}

// save and loss: Redis falls back to what it was when it was last saved.
func (m *model) save(s state) {
	if s.saves == 0 || s.older == s.redis {
		return
	}
	s.saves--
	s.older = s.redis
	m.next(s, "save", -1)
}

func (m *model) loss(s state) {
	if s.losses == 0 || s.older == s.redis {
		return
	}
	s.losses--
	s.redis = s.older
	s.excused = true
	s.redis.armed = false // a look that meets Redis away forgets
	m.next(s, "loss", -1)
}

// renews reports whether somebody renews the lease that Redis knows.
func (m *model) renews(s *state) bool {
	o := int(s.redis.owner) - 1
	return o >= 0 && s.workers[o].process == up && s.workers[o].fence == s.redis.fence
}

// awaited reports whether a job that lapsed is left to a worker that can take it.
func (m *model) awaited(s *state) bool {
	if !m.calm {
		return false // whoever watches may be wrong about that
	}
	for w := range m.workers {
		if me := &s.workers[w]; me.process == down || (me.process == up && me.role == idle) {
			return true
		}
	}
	return m.bug("nobody watches")
}
