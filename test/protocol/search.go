package protocol

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// bounds are how many faults of each kind a run may have.
type bounds struct {
	workers                                             int
	claims, crashes, lapses, lostAnswers, losses, saves uint8
}

// model is the rules, with one of them broken or none.
type model struct {
	bounds
	broken string
	// calm leaves out faults: a lease lapses only when nobody renews it, a worker that
	// is down comes back, and an exchange has its answer.
	calm bool

	out []step // what the last state leads to
}

// step is one action and what it leads to.
type step struct {
	action string
	worker int
	to     state
}

func (m *model) bug(name string) bool { return m.broken == name }

func (m *model) next(s state, action string, w int) {
	m.out = append(m.out, step{action, w, s})
}

// first is the state in which a run begins: the job waits, and nobody did anything.
func (m *model) first() state {
	return state{
		crashes: m.crashes, lapses: m.lapses, lostAnswers: m.lostAnswers, losses: m.losses, saves: m.saves, claims: m.claims,
	}
}

// steps gives all that can happen next.
func (m *model) steps(s state) []step {
	m.out = m.out[:0]
	for w := range m.workers {
		if !m.calm {
			m.crash(s, w)
		}
		m.restart(s, w)
		if s.workers[w].process != up {
			continue
		}
		m.claim(s, w, false)
		m.adopt(s, w)
		m.heartbeat(s, w)
		m.reportActive(s, w)
		m.note(s, w)
		m.finish(s, w, false)
		m.amend(s, w)
		m.begin(s, w, false)
		m.begin(s, w, true)
		m.grow(s, w)
		m.send(s, w, false)
		m.complete(s, w, false)
		m.put(s, w)
		m.list(s, w)
		m.rescue(s, w)
		if less := s; !m.calm && s.lostAnswers > 0 {
			less.lostAnswers--
			m.claim(less, w, true)
			m.finish(less, w, true)
			m.send(less, w, true)
			m.complete(less, w, true)
		}
	}
	m.lapse(s)
	m.look(s)
	m.reap(s)
	if !m.calm {
		m.save(s)
		m.loss(s)
	}
	return m.out
}

// search is one search of all states.
type search struct {
	model              model
	seed               maphash.Seed
	seen               map[uint64]origin
	calm               map[uint64]progress // of states in which faults have ceased
	States, Steps, End int
}

// progress is how far the look at a state without faults is.
type progress uint8

const (
	underWay progress = iota + 1
	settled           // all ways from it lead to the end
)

// origin says how a state was come to first.
type origin struct {
	from   uint64
	action string
	worker int8
}

func newSearch(b bounds, broken string) *search {
	return &search{
		model: model{bounds: b, broken: broken}, seed: maphash.MakeSeed(),
		seen: map[uint64]origin{}, calm: map[uint64]progress{},
	}
}

func (x *search) hash(s state) uint64 { return maphash.Comparable(x.seed, s) }

// run looks at every state; an error tells the shortest way to one that must not be.
// Live has it look, from each, at every way on without faults.
func (x *search) run(live bool) error {
	first := x.model.first()
	x.seen[x.hash(first)] = origin{}
	level := []state{first}
	for len(level) > 0 {
		var next []state
		for _, s := range level {
			x.States++
			at := x.hash(s)
			if live {
				if err := x.ends(s); err != nil {
					return fmt.Errorf("%w\nafter:\n%s", err, x.way(at))
				}
			}
			for _, p := range x.model.steps(s) {
				x.Steps++
				to := x.hash(p.to)
				if _, known := x.seen[to]; known {
					continue
				}
				x.seen[to] = origin{at, p.action, int8(p.worker)} //nolint:gosec // three at most
				if p.to.violated != fine {
					return fmt.Errorf("%s:\n%s", p.to.violated, x.way(to))
				}
				next = append(next, p.to)
			}
		}
		level = next
	}
	return nil
}

// way tells how a state was come to.
func (x *search) way(to uint64) string {
	var lines []string
	for o := x.seen[to]; o.action != ""; o = x.seen[o.from] {
		lines = append(lines, fmt.Sprintf("  %s %d", o.action, o.worker))
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

// ends looks at what follows a state when faults have ceased, whoever of the workers
// is left: all, any one, or none.
func (x *search) ends(s state) error {
	for left := range 1 << x.model.workers {
		if x.model.workers > 2 && left != 0 && left != 1<<x.model.workers-1 && left&(left-1) != 0 {
			continue
		}
		quiet := s
		quiet.older = redis{}
		quiet.crashes, quiet.lapses, quiet.lostAnswers, quiet.losses, quiet.saves, quiet.claims = 0, 0, 0, 0, 0, 2
		for w := range x.model.workers {
			if left&(1<<w) == 0 {
				quiet.workers[w] = worker{process: gone}
			}
		}
		m := x.model
		m.calm, m.out = true, nil
		if err := x.settles(&m, quiet); err != nil {
			return fmt.Errorf("left are the workers %0*b: %w", x.model.workers, left, err)
		}
	}
	return nil
}

// settles reports a way on that goes round for ever, or stops short of the end.
func (x *search) settles(m *model, s state) error {
	at := x.hash(s)
	switch x.calm[at] {
	case settled:
		return nil
	case underWay:
		return fmt.Errorf("it goes round for ever")
	default:
		x.calm[at] = underWay
	}
	last := true
	for _, p := range slices.Clone(m.steps(s)) {
		if p.to == s {
			continue
		}
		last = false
		if p.to.violated != fine {
			return fmt.Errorf("%s\n  %s %d", p.to.violated, p.action, p.worker)
		}
		if err := x.settles(m, p.to); err != nil {
			return fmt.Errorf("%w\n  ^ %s %d", err, p.action, p.worker)
		}
	}
	if last {
		x.End++
		if err := m.settled(s); err != nil {
			return err
		}
	}
	x.calm[at] = settled
	return nil
}

// settled reports what is missing where nothing happens any more.
func (m *model) settled(s state) error {
	anybody := false
	for w := range m.workers {
		me := &s.workers[w]
		anybody = anybody || me.process == up
		if me.process == up && (me.role != idle || me.late) {
			return fmt.Errorf("worker %d still has role %d: %+v", w, me.role, *me)
		}
	}
	switch left := int(s.redis.notes.upload) - 1; {
	case s.redis.status == queued && !anybody:
		return nil // it waits for the first worker
	case s.redis.status != ended:
		return fmt.Errorf("the job never ends: %+v", s.redis)
	case s.redis.ends != 1:
		return fmt.Errorf("the job ended %d times", s.redis.ends)
	case anybody && !s.excused && left >= 0 && s.uploads[left].open && s.redis.notes.first != none:
		return fmt.Errorf("what worker %d uploaded is left", left)
	}
	return nil
}
