//go:build race

package protocol

// raced says that the race detector makes everything ten times as slow.
const raced = true
