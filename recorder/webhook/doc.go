// Package webhook brings a pool's events to HTTP receivers, signed as LiveKit
// signs its own: whoever receives LiveKit's webhooks receives these.
//
//	Sender.Run   takes what is due from a recorder.Outbox, a bounded number at once
//	post         one try at one receiver: body, signature, answer
//	verdict      what the answer means: done, later, or given up
//
// The Outbox keeps a job's events in order and remembers tries; nothing here
// outlives a restart or needs to.
package webhook
