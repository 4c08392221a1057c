package main

import (
	"slices"
	"strings"
	"unsafe"
)

// secretFlags names the flags whose value may hold a secret: those that are read
// with secretFlag.
func secretFlags() []string {
	return []string{"redis", "rtmp", "stream", "add-rtmp", "remove-rtmp", "token", "upload-url", "api-key", "api-secret"}
}

// hideArgs copies the arguments and overwrites the originals where they may be
// secrets, so that no stream key, token or password stays visible in ps or
// /proc/*/cmdline while the process runs. The runtime's argument strings are
// the process's own argument memory (runtime.goargs), which is what the kernel shows.
func hideArgs(args []string) []string {
	copies := make([]string, len(args))
	for i, arg := range args {
		copies[i] = strings.Clone(arg)
		if i == 0 {
			continue
		}
		from := secretAt(copies[i-1], copies[i])
		memory := unsafe.Slice(unsafe.StringData(arg), len(arg))
		for k := from; k < len(memory); k++ {
			memory[k] = '*'
		}
	}
	return copies
}

// secretAt says from where on an argument is to be hidden: the value of a secret
// flag whatever it looks like, and whatever looks like a URL, behind its scheme.
// "@path" names a file, which is no secret.
func secretAt(before, arg string) int {
	from := len(arg)
	if i := strings.Index(arg, "://"); i >= 0 {
		from = i + len("://")
	}
	start := len(arg)
	if name, ok := strings.CutPrefix(before, "--"); ok && slices.Contains(secretFlags(), name) {
		start = 0
	} else if name, _, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(name, "--") && slices.Contains(secretFlags(), name[2:]) {
		start = len(name) + 1
	}
	if strings.HasPrefix(arg[start:], "@") {
		return len(arg)
	}
	return min(from, start)
}
