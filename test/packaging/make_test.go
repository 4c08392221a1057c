package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestMakeHelpListsEveryTarget(t *testing.T) {
	help, err := exec.CommandContext(t.Context(), "make", "-C", repository, "--no-print-directory", "help").CombinedOutput()
	if err != nil {
		t.Fatalf("make help: %v\n%s", err, help)
	}
	for _, target := range []string{
		"help", "setup", "build", "test", "test-unit", "lint", "fmt", "demo", "demo-room", "bench", "image", "tools", "clean",
	} {
		if !regexp.MustCompile(`(?m)^  make ` + target + ` +\S`).Match(help) {
			t.Errorf("make help does not list %s:\n%s", target, help)
		}
	}
}

func TestCIRunsMakeTest(t *testing.T) {
	if script := read(t, ".ci/run"); !strings.Contains(script, "\nexec make test") {
		t.Errorf(".ci/run does not end in make test:\n%s", script)
	}
	info, err := os.Stat(filepath.Join(repository, ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o100 == 0 {
		t.Error(".ci/run is not executable")
	}
}

// A recorder/* package without a depguard rule of its own could import its
// neighbours unnoticed.
func TestEveryAdapterHasAnImportRule(t *testing.T) {
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						Files []string `yaml:"files"`
					} `yaml:"rules"`
				} `yaml:"depguard"`
			} `yaml:"settings"`
		} `yaml:"linters"`
	}
	if err := yaml.Unmarshal([]byte(read(t, ".golangci.yml")), &config); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(repository, "recorder"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || name == "testdata" {
			continue
		}
		files := config.Linters.Settings.Depguard.Rules[name].Files
		if len(files) != 1 || files[0] != "${base-path}/recorder/"+name+"/**" {
			t.Errorf("recorder/%s: .golangci.yml has no depguard rule %q over its files", name, name)
		}
	}
}
