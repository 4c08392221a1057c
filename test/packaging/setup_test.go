package packaging_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestPrintIsThePackageList(t *testing.T) {
	groups := packageGroups(t)
	seen := map[string]string{}
	for group, packages := range groups {
		for _, name := range packages {
			if other, twice := seen[name]; twice {
				t.Errorf("%s is in group %s and in group %s", name, other, group)
			}
			seen[name] = group
		}
		slices.Sort(packages)
		if got := printed(t, group); !slices.Equal(got, packages) {
			t.Errorf("setup.sh %s installs %q, the list says %q", group, got, packages)
		}
	}
	for _, group := range []string{"runtime", "build", "demo", "rtmp", "test", "lint"} {
		if len(groups[group]) == 0 {
			t.Errorf("group %s is empty", group)
		}
	}
	if got := printed(t, "all"); len(got) != len(seen) {
		t.Errorf("setup.sh all installs %d packages, the list has %d", len(got), len(seen))
	}
}

func printed(t *testing.T, group string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), script(t), "--print", group).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func script(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(repository, "build/setup.sh"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// machine is a PATH of its own for the script: an ordinary user's, where dpkg
// and sudo are stand-ins, so that nothing is really installed.
type machine struct {
	path string
	log  string // what sudo was asked for, a line each
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{path: t.TempDir()}
	m.log = filepath.Join(m.path, "sudo.log")
	for _, tool := range []string{"bash", "cat", "dirname", "env", "grep", "mktemp", "paste", "rm", "sed", "sort", "tail"} {
		found, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(found, filepath.Join(m.path, tool)); err != nil {
			t.Fatal(err)
		}
	}
	m.stub(t, "id", `echo 1000`)
	m.stub(t, "sleep", `:`)
	return m
}

func (m machine) stub(t *testing.T, name, body string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.path, name), []byte("#!/bin/bash\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// have makes dpkg know every package asked for but the named ones.
func (m machine) have(t *testing.T, missing ...string) {
	t.Helper()
	m.stub(t, "dpkg-query", `for p in "${@:4}"; do
	case " `+strings.Join(missing, " ")+` " in *" $p "*) ;; *) echo "$p installed" ;; esac
done`)
}

// sudo stands in for sudo; apt-get fails the first failures times.
func (m machine) sudo(t *testing.T, failures int) {
	t.Helper()
	m.stub(t, "sudo", `echo "$*" >>`+m.log+`
[[ $* != *apt-get*update* ]] || (( $(grep -c apt-get.*update `+m.log+`) > `+strconv.Itoa(failures)+` ))`)
}

func (m machine) run(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), script(t), args...)
	cmd.Env = []string{"PATH=" + m.path, "TMPDIR=" + t.TempDir()}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (m machine) asked(t *testing.T, what string) []string {
	t.Helper()
	content, err := os.ReadFile(m.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, what) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestSetupSaysNothingWhenNothingIsMissing(t *testing.T) {
	m := newMachine(t)
	m.have(t)
	m.sudo(t, 0)
	out, code := m.run(t, "all")
	if out != "" || code != 0 || len(m.asked(t, "")) != 0 {
		t.Errorf("code %d, output %q, sudo %q; want silence", code, out, m.asked(t, ""))
	}
}

func TestSetupInstallsWhatIsMissingAndSaysSo(t *testing.T) {
	m := newMachine(t)
	m.have(t, "xvfb", "ffmpeg")
	m.sudo(t, 0)
	out, code := m.run(t, "all")
	if code != 0 || out != "setup: installing with apt: ffmpeg xvfb\n" {
		t.Errorf("code %d, output %q; want one line that names both packages", code, out)
	}
	installs := m.asked(t, " install ")
	if len(installs) != 1 ||
		!strings.HasPrefix(installs[0], "env DEBIAN_FRONTEND=noninteractive apt-get ") ||
		!strings.HasSuffix(installs[0], " install -y --no-install-recommends ffmpeg xvfb") {
		t.Errorf("asked for %q", installs)
	}
	// A guard against starting services that was put up is taken down again.
	const policy = "/usr/sbin/policy-rc.d"
	if up, down := len(m.asked(t, "tee "+policy)), len(m.asked(t, "rm -f "+policy)); up != down {
		t.Errorf("%s written %d times and removed %d times", policy, up, down)
	}
}

func TestSetupRetriesAndThenGivesUp(t *testing.T) {
	m := newMachine(t)
	m.have(t, "xvfb")
	m.sudo(t, 2)
	if out, code := m.run(t, "runtime"); code != 0 || strings.Count(out, "trying again") != 2 {
		t.Errorf("after two failures: code %d, output %q", code, out)
	}

	m = newMachine(t)
	m.have(t, "xvfb")
	m.sudo(t, 9)
	out, code := m.run(t, "runtime")
	if code != 1 || !strings.Contains(out, "could not install: xvfb") || len(m.asked(t, "update")) != 4 {
		t.Errorf("with no network: code %d, %d attempts, output %q", code, len(m.asked(t, "update")), out)
	}
}

func TestSetupWithoutRootOrSudo(t *testing.T) {
	m := newMachine(t)
	m.have(t, "xvfb")
	out, code := m.run(t, "runtime", "build")
	if code != 1 || !strings.Contains(out, "there is no sudo; as root run: ") ||
		!strings.HasSuffix(out, "setup.sh runtime build\n") {
		t.Errorf("code %d, output %q", code, out)
	}
}

func TestSetupRefusesAnUnknownGroup(t *testing.T) {
	out, code := newMachine(t).run(t, "everything")
	if code != 1 || !strings.Contains(out, `unknown group "everything"; known are: all runtime build`) {
		t.Errorf("code %d, output %q", code, out)
	}
}
