// Command tapedeck records web pages and rooms: a worker for a Redis queue, and
// a recorder for the command line.
package main

import (
	"os"
)

// version is set by the linker (Makefile).
var version = "dev"

func main() {
	os.Exit(run(hideArgs(os.Args), os.Stdin, os.Stdout, os.Stderr))
}
