package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/webhook"
)

// Config is the configuration of every verb: one strict YAML file, then
// TAPEDECK_* variables, then flags. docs/config.md lists it.
type Config struct {
	Redis   RedisConfig   `yaml:"redis" envPrefix:"REDIS_"`
	Worker  WorkerConfig  `yaml:"worker" envPrefix:"WORKER_"`
	Spool   string        `yaml:"spool" env:"SPOOL"` // directory; never below a temp directory
	Storage StorageConfig `yaml:"storage" envPrefix:"STORAGE_"`
	Chrome  ChromeConfig  `yaml:"chrome" envPrefix:"CHROME_"`
	LiveKit LiveKitConfig `yaml:"livekit" envPrefix:"LIVEKIT_"`
	HTTP    HTTPConfig    `yaml:"http" envPrefix:"HTTP_"`
	Log     LogConfig     `yaml:"log" envPrefix:"LOG_"`

	Webhooks WebhooksConfig `yaml:"webhooks" envPrefix:"WEBHOOKS_"`
}

// RedisConfig is the queue.
type RedisConfig struct {
	URL      string        `yaml:"url" env:"URL"`             // redis://, rediss://, …; a secret
	Prefix   string        `yaml:"prefix" env:"PREFIX"`       // of every key
	LeaseTTL time.Duration `yaml:"lease_ttl" env:"LEASE_TTL"` // without a heartbeat for so long, a job is taken over
}

// WorkerConfig is one worker.
type WorkerConfig struct {
	ID           string        `yaml:"id" env:"ID"`                       // stable across restarts; default: host name
	MaxJobs      int           `yaml:"max_jobs" env:"MAX_JOBS"`           // slots
	MaxDuration  time.Duration `yaml:"max_duration" env:"MAX_DURATION"`   // bounds every job
	DrainTimeout time.Duration `yaml:"drain_timeout" env:"DRAIN_TIMEOUT"` // running recordings go on for so long after SIGTERM
	DeliverGrace time.Duration `yaml:"deliver_grace" env:"DELIVER_GRACE"` // and uploads after that

	SpoolMinFree   Size          `yaml:"spool_min_free" env:"SPOOL_MIN_FREE"`     // with less on the spool's disk no job is taken
	SpoolReserve   Size          `yaml:"spool_reserve" env:"SPOOL_RESERVE"`       // with less the largest recordings are ended
	SpoolOrphanAge time.Duration `yaml:"spool_orphan_age" env:"SPOOL_ORPHAN_AGE"` // `spool ls` calls what is older an orphan
}

// ChromeConfig is the browser.
type ChromeConfig struct {
	Path    string   `yaml:"path" env:"PATH"`
	User    string   `yaml:"user" env:"USER"`       // under which it runs when we are root
	Sandbox bool     `yaml:"sandbox" env:"SANDBOX"` // Chrome's own; off only in a box of its own
	Flags   []string `yaml:"flags" env:"FLAGS"`     // more command line flags
}

// LogConfig is the log on stderr.
type LogConfig struct {
	Level  string `yaml:"level" env:"LEVEL"`
	Format string `yaml:"format" env:"FORMAT"`
}

func defaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return Config{
		Redis: RedisConfig{URL: "redis://127.0.0.1:6379/0", Prefix: "tapedeck", LeaseTTL: queue.DefaultLeaseTTL},
		Worker: WorkerConfig{
			ID: host, MaxJobs: defaultSlots(), MaxDuration: 24 * time.Hour,
			DrainTimeout: time.Hour, DeliverGrace: 2 * time.Minute,
			SpoolMinFree: sizeDefault, SpoolReserve: sizeDefault, SpoolOrphanAge: defaultOrphanAge,
		},
		Spool:  filepath.Join(stateDir(), "spool"),
		Chrome: ChromeConfig{Sandbox: true, User: "tapedeck"},
		Log:    LogConfig{Level: "info"},

		Webhooks: WebhooksConfig{GiveUpAfter: webhook.DefaultGiveUpAfter},
	}
}

// defaultSlots allows for a 720p recording's two busy cores: Chrome and x264.
func defaultSlots() int { return max(1, runtime.NumCPU()/2) }

// stateDir survives restarts, unlike a temp directory.
func stateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" && filepath.IsAbs(dir) {
		return filepath.Join(dir, "tapedeck")
	}
	if home, err := os.UserHomeDir(); err == nil && os.Geteuid() != 0 {
		return filepath.Join(home, ".local", "state", "tapedeck")
	}
	return "/var/lib/tapedeck"
}

// load reads the configuration: file, variables, flags.
func (a *app) load(cmd *cobra.Command) error {
	a.config = defaultConfig()
	if a.path == "" {
		a.path = os.Getenv("TAPEDECK_CONFIG")
	}
	if a.path != "" {
		if err := readConfig(a.path, &a.config); err != nil {
			return err
		}
	}
	if err := readEnvironment(&a.config); err != nil {
		return err
	}
	applyFlag(cmd, "log-level", &a.config.Log.Level)
	applyFlag(cmd, "log-format", &a.config.Log.Format)
	return a.config.validate()
}

func readConfig(path string, into *Config) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return usageError{fmt.Errorf("configuration: %w", err)}
	}
	err = yaml.UnmarshalWithOptions(data, into, yaml.Strict())
	if err == nil {
		return nil
	}
	// Without the source: the lines around a fault may hold a secret.
	return usageError{fmt.Errorf("configuration %s: %s", path, yaml.FormatError(err, false, false))}
}

func applyFlag(cmd *cobra.Command, name string, to *string) {
	if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
		*to = f.Value.String()
	}
}

func (c Config) validate() error {
	var problems []error
	wrong := func(field string, value any, remedy string) {
		problems = append(problems, fmt.Errorf("%s: %q: %s", field, fmt.Sprint(value), remedy))
	}
	if c.Worker.MaxJobs < 1 || c.Worker.MaxJobs > 256 {
		wrong("worker.max_jobs", c.Worker.MaxJobs, "use 1 to 256")
	}
	for name, d := range map[string]time.Duration{
		"worker.max_duration": c.Worker.MaxDuration, "worker.drain_timeout": c.Worker.DrainTimeout,
		"worker.deliver_grace": c.Worker.DeliverGrace,
	} {
		if d < 0 {
			wrong(name, d, "is negative: use a duration such as 90s or 1h")
		}
	}
	c.Worker.validateDisk(wrong)
	if c.Redis.LeaseTTL < time.Second || c.Redis.LeaseTTL > time.Hour {
		wrong("redis.lease_ttl", c.Redis.LeaseTTL, "use 1s to 1h")
	}
	if !recorder.ValidID(strings.ReplaceAll(c.Worker.ID, ".", "-")) {
		wrong("worker.id", c.Worker.ID, "use 1 to 64 characters of A-Z a-z 0-9 _ - .")
	}
	if err := c.Storage.validate(); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, c.validateDoors(wrong)...)
	if !filepath.IsAbs(c.Spool) {
		wrong("spool", c.Spool, "use an absolute path")
	}
	if _, err := logLevel(c.Log.Level); err != nil {
		wrong("log.level", c.Log.Level, "use debug, info, warn or error")
	}
	if f := c.Log.Format; f != "" && f != "console" && f != "json" {
		wrong("log.format", f, "use console or json")
	}
	if len(problems) > 0 {
		return usageError{fmt.Errorf("configuration: %w", errors.Join(problems...))}
	}
	return nil
}
