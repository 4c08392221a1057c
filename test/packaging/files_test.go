package packaging_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository is the root of the checkout, seen from this package.
const repository = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// packageGroups reads build/packages.txt on its own account, so that a mistake
// in the script's reading of it shows.
func packageGroups(t *testing.T) map[string][]string {
	t.Helper()
	groups := map[string][]string{}
	group := ""
	for line := range strings.Lines(read(t, "build/packages.txt")) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "["):
			group = strings.Trim(line, "[]")
		default:
			groups[group] = append(groups[group], line)
		}
	}
	return groups
}

// instruction is one instruction of the Dockerfile, its continuation lines
// joined.
type instruction struct {
	stage int // 0 is the first FROM
	name  string
	args  string
}

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var all []instruction
	stage, pending := -1, ""
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		joined, more := strings.CutSuffix(line, `\`)
		pending += joined
		if more {
			continue
		}
		name, args, found := strings.Cut(pending, " ")
		if !found {
			t.Fatalf("Dockerfile: %q is not an instruction", pending)
		}
		pending = ""
		if name == "FROM" {
			stage++
		}
		all = append(all, instruction{stage: stage, name: name, args: strings.TrimSpace(args)})
	}
	return all
}
