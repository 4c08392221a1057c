// Command seccomp writes the seccomp profile Tapedeck's container runs under:
// Docker's default profile (github.com/moby/profiles, Apache-2.0), plus what
// Chrome's own sandbox needs to put its renderers into a user namespace.
//
// Regenerate build/seccomp-chrome.json with
//
//	go -C build/tools/seccomp run . >build/seccomp-chrome.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// sandbox are the system calls Docker allows only with CAP_SYS_ADMIN or
// CAP_SYS_CHROOT. Inside a fresh user namespace the kernel checks those
// capabilities itself, so allowing the calls gives nothing away but the
// namespace.
func sandbox() []string {
	return []string{"chroot", "clone", "clone3", "setns", "unshare"}
}

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "seccomp:", err)
		os.Exit(1)
	}
}

func write() error {
	profile := seccomp.DefaultProfile()

	// A call may have one verdict only, so the default's conditional ones
	// (clone without namespaces, clone3 answered with ENOSYS) go.
	var kept []*seccomp.Syscall
	for _, rule := range profile.Syscalls {
		rule.Names = slices.DeleteFunc(rule.Names, func(name string) bool {
			return slices.Contains(sandbox(), name)
		})
		if len(rule.Names) > 0 {
			kept = append(kept, rule)
		}
	}
	profile.Syscalls = append(kept, &seccomp.Syscall{
		LinuxSyscall: specs.LinuxSyscall{Names: sandbox(), Action: specs.ActAllow},
		Comment:      "Chrome's sandbox; all else is Docker's default profile, written by build/tools/seccomp",
	})

	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "\t")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(profile)
}
