// Package rehearsal tests recorder/rehearsal and pipeline together, against the real
// livekit-server: neither may import the other.
package rehearsal
