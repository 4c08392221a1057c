package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// StorageConfig is where outputs go whose job names no storage, and what takes
// those that a storage refuses, the jobs' own included.
type StorageConfig struct {
	PlaceConfig `yaml:",inline"`
	Backup      PlaceConfig   `yaml:"backup" envPrefix:"BACKUP_"`
	BackupAfter time.Duration `yaml:"backup_after" env:"BACKUP_AFTER"` // how long a storage may fail before
	SendWithin  time.Duration `yaml:"send_within" env:"SEND_WITHIN"`   // how long media may wait for their upload part to fill
	Overwrite   bool          `yaml:"overwrite" env:"OVERWRITE"`       // names that are taken are replaced, the jobs' storages' included
}

// PlaceConfig is a directory, or one bucket: the one that is named.
type PlaceConfig struct {
	Directory string       `yaml:"directory" env:"DIRECTORY"`
	S3        S3Config     `yaml:"s3" envPrefix:"S3_"`
	GCP       GCPConfig    `yaml:"gcp" envPrefix:"GCP_"`
	Azure     AzureConfig  `yaml:"azure" envPrefix:"AZURE_"`
	AliOSS    AliOSSConfig `yaml:"ali_oss" envPrefix:"ALI_OSS_"`
}

// S3Config is a bucket. Without keys, the AWS SDK's default chain gives them.
type S3Config struct {
	Bucket               string `yaml:"bucket" env:"BUCKET"`
	Prefix               string `yaml:"prefix" env:"PREFIX"` // put before every key
	Region               string `yaml:"region" env:"REGION"`
	Endpoint             string `yaml:"endpoint" env:"ENDPOINT"`
	ForcePathStyle       bool   `yaml:"force_path_style" env:"FORCE_PATH_STYLE"`
	AccessKey            string `yaml:"access_key" env:"ACCESS_KEY"`
	Secret               string `yaml:"secret" env:"SECRET"`
	SessionToken         string `yaml:"session_token" env:"SESSION_TOKEN"`
	AssumeRoleARN        string `yaml:"assume_role_arn" env:"ASSUME_ROLE_ARN"`
	AssumeRoleExternalID string `yaml:"assume_role_external_id" env:"ASSUME_ROLE_EXTERNAL_ID"`
	Proxy                string `yaml:"proxy" env:"PROXY"` // a secret when it holds a password
}

// GCPConfig is a bucket of Google Cloud Storage. Without credentials, the
// machine's own are used (GOOGLE_APPLICATION_CREDENTIALS, workload identity).
type GCPConfig struct {
	Bucket      string `yaml:"bucket" env:"BUCKET"`
	Prefix      string `yaml:"prefix" env:"PREFIX"`
	Credentials string `yaml:"credentials" env:"CREDENTIALS"` // a service account's key, JSON
	Proxy       string `yaml:"proxy" env:"PROXY"`
}

// AzureConfig is a container of Azure Blob Storage.
type AzureConfig struct {
	AccountName   string `yaml:"account_name" env:"ACCOUNT_NAME"`
	AccountKey    string `yaml:"account_key" env:"ACCOUNT_KEY"`
	ContainerName string `yaml:"container_name" env:"CONTAINER_NAME"`
	Prefix        string `yaml:"prefix" env:"PREFIX"`
}

// AliOSSConfig is a bucket of Alibaba Cloud OSS.
type AliOSSConfig struct {
	Bucket    string `yaml:"bucket" env:"BUCKET"`
	Prefix    string `yaml:"prefix" env:"PREFIX"`
	Endpoint  string `yaml:"endpoint" env:"ENDPOINT"`
	AccessKey string `yaml:"access_key" env:"ACCESS_KEY"`
	Secret    string `yaml:"secret" env:"SECRET"`
}

// bucket gives the bucket that is configured; the zero Storage is none.
func (c PlaceConfig) bucket() upload.Storage {
	var s upload.Storage
	if b := c.S3; b != (S3Config{}) {
		s.Prefix, s.S3 = b.Prefix, &recorder.S3Upload{
			Bucket: b.Bucket, Region: b.Region, Endpoint: b.Endpoint, ForcePathStyle: b.ForcePathStyle, Proxy: b.Proxy,
			AccessKey: b.AccessKey, Secret: b.Secret, SessionToken: b.SessionToken,
			AssumeRoleARN: b.AssumeRoleARN, AssumeRoleExternalID: b.AssumeRoleExternalID,
		}
	}
	if b := c.GCP; b != (GCPConfig{}) {
		s.Prefix, s.GCP = b.Prefix, &recorder.GCPUpload{Bucket: b.Bucket, Credentials: b.Credentials, Proxy: b.Proxy}
	}
	if b := c.Azure; b != (AzureConfig{}) {
		s.Prefix, s.Azure = b.Prefix, &recorder.AzureBlobUpload{AccountName: b.AccountName, AccountKey: b.AccountKey, ContainerName: b.ContainerName}
	}
	if b := c.AliOSS; b != (AliOSSConfig{}) {
		s.Prefix, s.AliOSS = b.Prefix, &recorder.AliOSSUpload{Bucket: b.Bucket, Endpoint: b.Endpoint, AccessKey: b.AccessKey, Secret: b.Secret}
	}
	return s
}

func (c PlaceConfig) validate(field string) error {
	s := c.bucket()
	if c.Directory != "" && s != (upload.Storage{}) {
		return fmt.Errorf("%s.directory: %q: storage is a directory or a bucket: set one of them", field, c.Directory)
	}
	err := recorder.ValidateStorage(field, recorder.Storage{S3: s.S3, GCP: s.GCP, Azure: s.Azure, AliOSS: s.AliOSS})
	if err != nil {
		return errors.New(err.Error()) // one of the configuration's problems, and no job's
	}
	return nil
}

func (c StorageConfig) validate() error {
	return errors.Join(c.PlaceConfig.validate("storage"), c.Backup.validate("storage.backup"),
		validateWait("storage.backup_after", c.BackupAfter), validateWait("storage.send_within", c.SendWithin))
}

func validateWait(field string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s: %q: is negative: use a duration such as 1m, or 0 for the default", field, d)
	}
	return nil
}

// secrets lists what no log may show.
func (c StorageConfig) secrets() []string {
	var all []string
	for _, p := range []PlaceConfig{c.PlaceConfig, c.Backup} {
		all = append(all, p.S3.AccessKey, p.S3.Secret, p.S3.SessionToken, p.S3.AssumeRoleExternalID, p.S3.Proxy,
			p.GCP.Credentials, p.GCP.Proxy, p.Azure.AccountKey, p.AliOSS.AccessKey, p.AliOSS.Secret)
	}
	return all
}

// storage gives the worker's own: a bucket, or a directory.
func (a *app) storage(outputDir string) (upload.Storage, error) {
	c := a.config.Storage.PlaceConfig
	bucket := c.bucket()
	named := bucket != upload.Storage{}
	switch {
	case outputDir != "" && named:
		return upload.Storage{}, usageError{errors.New("--output-dir: the configuration names a bucket in storage: set one of them")}
	case outputDir != "":
		c.Directory = outputDir
	case named:
		bucket.Overwrite = a.config.Storage.Overwrite
		return bucket, nil
	case c.Directory == "":
		c.Directory = filepath.Join(filepath.Dir(a.config.Spool), "recordings")
	}
	return a.storageIn("storage", c.Directory)
}

// backupStorage gives the worker's backup; the zero Storage is none.
func (a *app) backupStorage() (upload.Storage, error) {
	c := a.config.Storage.Backup
	if c.Directory != "" {
		return a.storageIn("storage.backup", c.Directory)
	}
	bucket := c.bucket()
	if bucket != (upload.Storage{}) { // which is none
		bucket.Overwrite = a.config.Storage.Overwrite
	}
	return bucket, nil
}

func (a *app) storageIn(field, dir string) (upload.Storage, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return upload.Storage{}, usageError{fmt.Errorf("%s.directory %q: %w", field, dir, err)}
	}
	return upload.Storage{Directory: abs, Overwrite: a.config.Storage.Overwrite}, nil
}

// spoolOptions is how the spool of a worker delivers.
func (a *app) spoolOptions(storage upload.Storage, log *zap.Logger) (upload.Options, error) {
	backup, err := a.backupStorage()
	return upload.Options{
		Default: storage, Backup: backup, BackupAfter: a.config.Storage.BackupAfter, SendWithin: a.config.Storage.SendWithin,
		Overwrite: a.config.Storage.Overwrite, Log: log, KeepLogs: keptLogs,
	}, err
}

// storageNames is for people: the storage, and the backup where there is one.
func storageNames(storage, backup upload.Storage) string {
	names := []string{storage.String()}
	if backup != (upload.Storage{}) {
		names = append(names, "backup "+backup.String())
	}
	return strings.Join(names, ", ")
}
