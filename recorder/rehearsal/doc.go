// Package rehearsal is a room rehearsed: a LiveKit server of its own and virtual
// participants who publish pictures and sound that were encoded beforehand.
//
// StartServer runs a livekit-server on loopback. Join brings a Publisher into a
// room, of that server or of any other. What it publishes are clips: loops drawn
// in Go (Presenter, Measure), encoded once by an Encoder and shared by all who
// show the same.
//
// Clips are played on the wall clock: sample n of every track is due n sample
// durations after the Unix epoch. So a publisher's picture and sound are in step
// whenever each was published, muted or unmuted, and so are publishers with each
// other.
package rehearsal
