package queue

import (
	"strings"

	"tapedeck/recorder"
)

// group is the consumer group of every worker of a pool.
const group = "workers"

// derivedID is the prefix of every id the queue makes, as LiveKit's egress ids have it.
const derivedID = "EG_"

// keys names what is in Redis. The braces keep a pool in one slot of a Cluster.
type keys struct{ prefix string }

func newKeys(pool string) keys { return keys{"{" + pool + "}:"} }

func (k keys) jobs() string              { return k.prefix + "jobs" }
func (k keys) job(id string) string      { return k.prefix + "job:" + id }
func (k keys) index() string             { return k.prefix + "jobs-by-time" }
func (k keys) commands(id string) string { return k.prefix + "commands:" + id }
func (k keys) events() string            { return k.prefix + "events" }
func (k keys) hooks(id string) string    { return k.prefix + "hooks:" + id }
func (k keys) notes(id string) string    { return k.prefix + "notes:" + id }
func (k keys) dead() string              { return k.prefix + "dead" }
func (k keys) pulse() string             { return k.prefix + "pulse" }
func (k keys) workers() string           { return k.prefix + "workers" }
func (k keys) workersSeen() string       { return k.prefix + "workers-seen" }

// states and same are the keys of states and of sets of jobs that are alike, without
// the id or the fingerprint they end in.
func (k keys) states() string { return k.job("") }
func (k keys) same() string   { return k.prefix + "same:" }

func (k keys) outbox(name string) string      { return k.prefix + "outbox:" + name }
func (k keys) outboxDue(name string) string   { return k.prefix + "outbox-due:" + name }
func (k keys) outboxTries(name string) string { return k.prefix + "outbox-tries:" + name }

// idOf derives the id of a job that names none from its entry's, so that a
// redelivery has the same and whoever added the entry knows it.
func idOf(entry string) string { return derivedID + entry }

// entryOf is the reverse of idOf; "" when id was not derived.
func entryOf(id string) string {
	entry, ok := strings.CutPrefix(id, derivedID)
	ms, seq, found := strings.Cut(entry, "-")
	if !ok || !found || !digits(ms) || !digits(seq) {
		return ""
	}
	return entry
}

func digits(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

func checkPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "{} \t\r\n") || len(prefix) > 64 {
		return recorder.Errorf(recorder.CodeInvalid, "prefix: %q: use at most 64 characters without braces and spaces", prefix)
	}
	return nil
}
