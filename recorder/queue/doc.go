// Package queue keeps jobs in Redis Streams and hands them to workers: it
// implements recorder.Queue, recorder.Placer, recorder.Lease, recorder.Controller and
// recorder.Outbox.
//
// What is stored, and what a control plane in another language may rely on, is
// docs/queue.md. In short: a job is one entry of a stream and, once somebody
// looked at it, one hash. The entry is the work to be done and holds the job
// with its secrets; it is deleted when the job ends. The hash is the state
// everybody may read; it never holds a secret.
//
// # Who owns a job
//
// The hash decides: owner (a worker and a nonce of its process), fence (one
// more with every claim) and lease_until (Redis's own clock). The group's
// pending list only tells workers where to look. Each script that changes a
// running job checks owner and fence first, so a worker that was asleep finds
// its reports refused, however late they come.
//
// Redis being away ends no lease: an owner loses its job only when a script
// says that it has another owner or has ended. When Redis is back, nobody's lease counts
// as expired until the owners had time for a heartbeat. When it comes back
// empty, the owners write their jobs' state again.
//
// A job that is placed is owned from its first moment: its entry is in its owner's
// pending list before anybody can read it (docs/adr/0013).
//
// # Who hears of it
//
// An Outbox moves events into one list per job and receiver, together with the
// cursor that says how far it came. The first event of a list is claimed for a
// while, and removed when it arrived. All of it is in Redis: any number of
// processes share an outbox.
//
// # One goroutine per file
//
// janitor.go, and commands.go while there are leases, run once per Queue;
// heartbeat.go and reports.go once per lease. Close waits for all of them.
package queue
