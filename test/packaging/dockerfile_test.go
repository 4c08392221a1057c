package packaging_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	webStage = iota
	buildStage
	finalStage
)

// last is the arguments of a stage's last instruction of a name: the one that
// counts.
func last(t *testing.T, stage int, name string) string {
	t.Helper()
	for _, i := range slices.Backward(dockerfile(t)) {
		if i.stage == stage && i.name == name {
			return i.args
		}
	}
	t.Fatalf("Dockerfile: stage %d has no %s", stage, name)
	return ""
}

func execForm(t *testing.T, args string) []string {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(args), &words); err != nil {
		t.Fatalf("Dockerfile: %s is not the exec form: %v", args, err)
	}
	return words
}

// The image and a host must hold the same packages. Both stages install through
// build/setup.sh and from nowhere else, and TestPrintIsThePackageList says what
// that installs.
func TestImageInstallsThePackageList(t *testing.T) {
	groups := map[int]string{buildStage: "build", finalStage: "runtime"}
	installed := map[int]string{}
	copied := map[int]bool{}
	other := regexp.MustCompile(`\b(apt|apt-get|aptitude|dpkg|apk|pip3?|npm) +(-\S+ +)*(install|add|-i)\b`)
	call := regexp.MustCompile(`setup\.sh ([a-z ]+)`)
	for _, i := range dockerfile(t) {
		switch {
		case i.name == "COPY" && strings.Contains(i.args, "build/packages.txt build/setup.sh "):
			copied[i.stage] = true
		case i.name != "RUN":
		case other.MatchString(i.args):
			t.Errorf("RUN %s\ninstalls packages past build/packages.txt", i.args)
		default:
			if m := call.FindStringSubmatch(i.args); m != nil {
				installed[i.stage] += strings.TrimSpace(m[1])
				if !copied[i.stage] {
					t.Errorf("stage %d runs setup.sh without copying it and its list first", i.stage)
				}
			}
		}
	}
	for stage, group := range groups {
		if installed[stage] != group {
			t.Errorf("stage %d installs group %q, want %q", stage, installed[stage], group)
		}
	}
}

func TestImageBases(t *testing.T) {
	want := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))[1]
	bases := []string{"node:20-bookworm-slim AS web", "golang:" + want + "-bookworm AS build", "debian:bookworm-slim"}
	var got []string
	for _, i := range dockerfile(t) {
		if i.name == "FROM" {
			got = append(got, i.args)
		}
	}
	if !slices.Equal(got, bases) {
		t.Errorf("FROM %q, want %q (Debian 12, and the Go of go.mod)", got, bases)
	}
}

// The page of rooms is built in a stage of its own, and Go embeds it: the image
// itself holds nothing of Node.js.
func TestImageEmbedsTheRoomTemplate(t *testing.T) {
	built, embedded := false, false
	for _, i := range dockerfile(t) {
		switch {
		case i.name == "RUN" && strings.HasPrefix(i.args, "npm ci "):
			if i.stage != webStage {
				t.Errorf("stage %d runs npm", i.stage)
			}
			built = true
		case i.name == "COPY" && strings.HasPrefix(i.args, "--from=web "):
			if i.stage != buildStage || i.args != "--from=web /src/dist templates/web/dist" {
				t.Errorf("stage %d: COPY %s, want only the built page, where Go embeds it", i.stage, i.args)
			}
			embedded = true
		case i.stage == buildStage && i.name == "RUN" && strings.Contains(i.args, "go build") && !embedded:
			t.Error("Go compiles before the page is there to be embedded")
		}
	}
	if !built || !embedded {
		t.Errorf("page built: %t, embedded: %t", built, embedded)
	}
	if !strings.Contains(read(t, ".dockerignore"), "\ntemplates/web/dist\n") {
		t.Error(".dockerignore lets a page in that was built elsewhere")
	}
}

func TestImageRunsAsAnOrdinaryUser(t *testing.T) {
	user := last(t, finalStage, "USER")
	// Kubernetes' runAsNonRoot can only judge a number.
	if !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(user) {
		t.Errorf("USER %s, want the number of an unprivileged user", user)
	}
	made := false
	for _, i := range dockerfile(t) {
		made = made || i.stage == finalStage && strings.Contains(i.args, "SETUP_UID="+user+" ")
	}
	if !made {
		t.Errorf("no RUN creates uid %s through SETUP_UID", user)
	}
}

func TestImageEntryPoint(t *testing.T) {
	want := []string{"/usr/bin/tini", "--", "/usr/local/bin/tapedeck"}
	if got := execForm(t, last(t, finalStage, "ENTRYPOINT")); !slices.Equal(got, want) {
		t.Errorf("ENTRYPOINT %q, want %q", got, want)
	}
	if !slices.Contains(packageGroups(t)["runtime"], "tini") {
		t.Error("tini is not in the runtime group")
	}
	if got := execForm(t, last(t, finalStage, "CMD")); !slices.Equal(got, []string{"worker"}) {
		t.Errorf("CMD %q, want worker", got)
	}
	if got := last(t, finalStage, "VOLUME"); got != spool {
		t.Errorf("VOLUME %s, want %s", got, spool)
	}
	_, check, found := strings.Cut(last(t, finalStage, "HEALTHCHECK"), "CMD ")
	want = []string{"/usr/local/bin/tapedeck", "doctor", "--quick"}
	if !found || !slices.Equal(execForm(t, check), want) {
		t.Errorf("HEALTHCHECK runs %s, want %q", check, want)
	}
}
