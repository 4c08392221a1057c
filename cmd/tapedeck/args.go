package main

import (
	"strings"
	"unsafe"
)

// hideArgs copies the arguments and overwrites the originals where they look
// like URLs, so that no stream key, token or password stays visible in ps or
// /proc/*/cmdline while the process runs. The runtime's argument strings are
// the process's own argument memory (runtime.goargs), which is what the kernel shows.
func hideArgs(args []string) []string {
	copies := make([]string, len(args))
	for i, arg := range args {
		copies[i] = strings.Clone(arg)
		if i == 0 || !strings.Contains(arg, "://") {
			continue
		}
		memory := unsafe.Slice(unsafe.StringData(arg), len(arg))
		from := strings.Index(arg, "://") + len("://")
		for k := from; k < len(memory); k++ {
			memory[k] = '*'
		}
	}
	return copies
}
