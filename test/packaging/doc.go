// Package packaging holds the tests of what ships beside the Go code: the
// package list, the set-up script, the image, the seccomp profile, the compose
// file, the make targets and the linter's import rule.
package packaging
