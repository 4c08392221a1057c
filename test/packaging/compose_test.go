package packaging_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// spool is where the image keeps recordings until their upload is verified.
const spool = "/var/lib/tapedeck"

type service struct {
	Image       string   `yaml:"image"`
	Build       string   `yaml:"build"`
	Ports       []string `yaml:"ports"`
	Volumes     []string `yaml:"volumes"`
	SecurityOpt []string `yaml:"security_opt"`
	ShmSize     string   `yaml:"shm_size"`
	Privileged  bool     `yaml:"privileged"`
	Grace       string   `yaml:"stop_grace_period"`

	Environment map[string]string `yaml:"environment"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
}

type compose struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

func composeFile(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestComposeServices(t *testing.T) {
	c := composeFile(t)
	for _, name := range []string{"redis", "s3"} {
		if s, ok := c.Services[name]; !ok || len(s.Healthcheck.Test) == 0 {
			t.Errorf("service %s is missing or has no health check", name)
		}
		if got := c.Services["worker"].DependsOn[name].Condition; got != "service_healthy" {
			t.Errorf("worker waits for %s to be %q, want service_healthy", name, got)
		}
	}
	for name, s := range c.Services {
		_, tag, _ := strings.Cut(s.Image, ":")
		if tag == "" || tag == "latest" {
			t.Errorf("service %s: image %q has no fixed tag", name, s.Image)
		}
		if s.Privileged {
			t.Errorf("service %s is privileged", name)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("service %s publishes %s beyond this machine", name, port)
			}
		}
		for _, volume := range s.Volumes {
			if _, ok := c.Volumes[strings.Split(volume, ":")[0]]; !ok {
				t.Errorf("service %s: volume %s is not declared", name, volume)
			}
		}
	}
}

func TestComposeWorker(t *testing.T) {
	worker := composeFile(t).Services["worker"]
	if worker.Build != "." {
		t.Errorf("worker is built from %q, want this repository", worker.Build)
	}
	if worker.ShmSize != "1g" {
		t.Errorf("shm_size %q, want 1g", worker.ShmSize)
	}
	if !slices.Contains(worker.SecurityOpt, "seccomp="+seccompFile) {
		t.Errorf("security_opt %q lacks %s, without which Chrome's sandbox cannot start", worker.SecurityOpt, seccompFile)
	}
	if !slices.Contains(worker.Volumes, "spool:"+spool) {
		t.Errorf("volumes %q keep no spool", worker.Volumes)
	}
}

// A container that is killed before its drain is over cuts what it records.
func TestComposeWaitsForADrain(t *testing.T) {
	worker := composeFile(t).Services["worker"]
	grace, err := time.ParseDuration(worker.Grace)
	if err != nil {
		t.Fatalf("stop_grace_period: %v", err)
	}
	drain, err := time.ParseDuration(worker.Environment["TAPEDECK_WORKER_DRAIN_TIMEOUT"])
	if err != nil {
		t.Fatalf("TAPEDECK_WORKER_DRAIN_TIMEOUT: %v", err)
	}
	const deliver = 2 * time.Minute // the default of worker.deliver_grace
	if grace <= drain+deliver {
		t.Errorf("stop_grace_period %s is not longer than drain_timeout %s and deliver_grace %s", grace, drain, deliver)
	}
	if worker.Environment["TAPEDECK_WORKER_ID"] == "" {
		t.Error("TAPEDECK_WORKER_ID is not set: a new container would not know its jobs")
	}
}
