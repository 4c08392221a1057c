package capture

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"tapedeck/recorder"
)

// observe tells whoever wants to know what the page does. The session's events
// come from one goroutine, but Navigate, which is somebody else's, tells too.
func (s *Session) observe(o recorder.Observation) {
	if s.opts.Observe == nil {
		return
	}
	s.observing.Lock()
	defer s.observing.Unlock()
	if began := s.tab.began(); !began.IsZero() {
		o.After = time.Since(began)
	}
	s.opts.Observe(o)
}

// hear keeps what was said, and tells it as what it was.
func (s *Session) hear(kind recorder.ObservationKind, said remark) {
	s.tab.mu.Lock()
	s.tab.console.add(said.String())
	address := s.tab.life.url
	s.tab.mu.Unlock()
	if s.opts.Observe == nil {
		return
	}
	s.observe(recorder.Observation{
		Kind: kind, Level: said.level, Text: said.text, Source: said.source, Leaks: leaks(said.raw, address),
	})
}

// What a parameter's value must have to be told from other words, and how much
// of it shows: Chrome previews the ends of a long text within an object.
const (
	shortestLeak = 6
	previewed    = 45
)

// leaks names the parameters of the page's address whose values are in text.
func leaks(text, address string) []string {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	var names []string
	for name, values := range u.Query() {
		if slices.ContainsFunc(values, func(v string) bool {
			return len(v) >= shortestLeak && strings.Contains(text, v[:min(len(v), previewed)])
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const parameterBinding = "tapedeckParameter"

// parameterWatch tells which parameters of the page's address its scripts ask
// for, each once. It runs in the page's own world, before its scripts.
//
// Nobody can see location.search being read. So what is watched is the ways to
// take it apart: a URLSearchParams that holds what the address holds, and a text
// of at least the address's query that is split, or searched with a pattern, at & or =;
// a pattern that names parameters asks for those.
// A page whose server reads the parameters asks for none here.
const parameterWatch = `(() => {
	'use strict';
	const tell = window.` + parameterBinding + `;
	delete window.` + parameterBinding + `;
	if (window !== top || !tell) return;
	const query = location.search.slice(1);
	if (!query) return;
	const told = new Set(), call = Function.prototype.call;
	const note = name => { if (!told.has(name)) { told.add(name); tell(name.slice(0, 100)) } };
	const params = URLSearchParams.prototype, plain = call.bind(params.toString);
	const whole = plain(new URLSearchParams(query)), names = [...new URLSearchParams(query).keys()];
	const ours = p => { try { return plain(p) === whole } catch { return false } };
	const patch = (owner, name, seen) => {
		const original = owner[name];
		const wrapper = { [name](...args) { seen(this, args); return Reflect.apply(original, this, args) } }[name];
		const descriptor = Object.getOwnPropertyDescriptor(owner, name);
		Object.defineProperty(wrapper, 'length', { value: original.length, configurable: true });
		Object.defineProperty(owner, name, { ...descriptor, value: wrapper });
	};
	for (const name of ['get', 'getAll', 'has']) patch(params, name, (p, [asked]) => ours(p) && note(String(asked)));
	for (const name of ['forEach', 'entries', 'keys', 'values', 'toString', Symbol.iterator]) patch(params, name, p => ours(p) && note('*'));
	const holds = call.bind(String.prototype.includes), apart = text => holds(text, '&') || holds(text, '=');
	const source = call.bind(Object.getOwnPropertyDescriptor(RegExp.prototype, 'source').get);
	const long = text => typeof text === 'string' && text.length >= query.length && holds(text, query);
	patch(String.prototype, 'split', (text, [at]) => typeof at === 'string' && apart(at) && long(text) && note('*'));
	const words = call.bind(String.prototype.split), between = /\\.|[^A-Za-z0-9_-]+/;
	patch(RegExp.prototype, 'exec', (pattern, [text]) => {
		if (!long(text)) return;
		let from;
		try { from = source(pattern) } catch { return }
		if (!apart(from)) return;
		const named = words(from, between).filter(word => names.includes(word));
		named.forEach(note);
		if (!named.length) note('*');
	});
})()`

// parameter takes what parameterWatch tells.
func (s *Session) parameter(name string) {
	s.observe(recorder.Observation{Kind: recorder.ObservedParameter, Text: cut(recorder.ScrubText(name), longestNote)})
}
