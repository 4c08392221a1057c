package packaging_test

import (
	"encoding/json"
	"slices"
	"testing"
)

const seccompFile = "build/seccomp-chrome.json"

type filter struct {
	Caps []string `json:"caps"`
}

type syscallRule struct {
	Names    []string `json:"names"`
	Action   string   `json:"action"`
	Args     []any    `json:"args"`
	Includes filter   `json:"includes"`
	Excludes filter   `json:"excludes"`
}

// conditional says that a rule depends on arguments or capabilities.
func (r syscallRule) conditional() bool {
	return len(r.Args)+len(r.Includes.Caps)+len(r.Excludes.Caps) > 0
}

func seccompRules(t *testing.T) []syscallRule {
	t.Helper()
	var profile struct {
		DefaultAction string        `json:"defaultAction"`
		ArchMap       []any         `json:"archMap"`
		Syscalls      []syscallRule `json:"syscalls"`
	}
	if err := json.Unmarshal([]byte(read(t, seccompFile)), &profile); err != nil {
		t.Fatal(err)
	}
	if profile.DefaultAction != "SCMP_ACT_ERRNO" || len(profile.ArchMap) == 0 {
		t.Fatalf("%s: default action %s, %d architectures", seccompFile, profile.DefaultAction, len(profile.ArchMap))
	}
	return profile.Syscalls
}

func rulesFor(all []syscallRule, name string) []syscallRule {
	var found []syscallRule
	for _, rule := range all {
		if slices.Contains(rule.Names, name) {
			found = append(found, rule)
		}
	}
	return found
}

// A second verdict on one of these would leave the first to chance.
func TestSeccompLetsChromeMakeItsSandbox(t *testing.T) {
	all := seccompRules(t)
	for _, name := range []string{"clone", "clone3", "unshare", "setns", "chroot"} {
		rules := rulesFor(all, name)
		if len(rules) != 1 || rules[0].Action != "SCMP_ACT_ALLOW" || rules[0].conditional() {
			t.Errorf("%s: %+v, want exactly one unconditional SCMP_ACT_ALLOW", name, rules)
		}
	}
}

func TestSeccompOpensNothingElse(t *testing.T) {
	all := seccompRules(t)
	for _, name := range []string{"mount", "umount2", "pivot_root", "bpf", "init_module", "reboot", "kexec_load", "swapon", "keyctl"} {
		for _, rule := range rulesFor(all, name) {
			if rule.Action == "SCMP_ACT_ALLOW" && len(rule.Includes.Caps) == 0 {
				t.Errorf("%s is allowed without a capability", name)
			}
		}
	}
	for _, name := range []string{"read", "execve", "futex", "openat", "memfd_create", "seccomp"} {
		if len(rulesFor(all, name)) == 0 {
			t.Errorf("%s is not allowed: this is not Docker's default profile", name)
		}
	}
}
