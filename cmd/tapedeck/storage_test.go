package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/upload"
)

func storageConfig(t *testing.T, text string) (*app, error) {
	t.Helper()
	a := &app{config: defaultConfig()}
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	if err := readConfig(path, &a.config); err != nil {
		return a, err
	}
	return a, a.config.validate()
}

func TestStorageConfig(t *testing.T) {
	a, err := storageConfig(t, `
storage:
  gcp: {bucket: recordings, prefix: rooms/}
  backup_after: 30s
  send_within: 5s
  backup:
    s3: {bucket: spare, access_key: backup-key, secret: backup-s3cr3t, assume_role_arn: "arn:aws:iam::123456789012:role/r"}
`)
	require.NoError(t, err)
	storage, err := a.storage("")
	require.NoError(t, err)
	require.Equal(t, "gs://recordings/rooms", storage.String())
	_, err = a.storage("/elsewhere")
	require.ErrorContains(t, err, "--output-dir")
	opts, err := a.spoolOptions(storage, nil)
	require.NoError(t, err)
	require.Equal(t, "s3://spare", opts.Backup.String())
	require.Equal(t, "arn:aws:iam::123456789012:role/r", opts.Backup.S3.AssumeRoleARN)
	require.Equal(t, 30*time.Second, opts.BackupAfter)
	require.Equal(t, 5*time.Second, opts.SendWithin)
	require.Contains(t, a.config.secrets(), "backup-s3cr3t")
	a.config.Webhooks.URLs = []string{"https://hooks.example.com/T0/B0/5ecret"}
	require.Subset(t, a.config.secrets(), a.config.Webhooks.URLs)
	require.Equal(t, "gs://recordings/rooms, backup s3://spare", storageNames(storage, opts.Backup))

	a, err = storageConfig(t, "storage: {directory: /srv/recordings, backup: {directory: /mnt/spare}}")
	require.NoError(t, err)
	storage, err = a.storage("")
	require.NoError(t, err)
	require.Equal(t, upload.Storage{Directory: "/srv/recordings"}, storage)
	backup, err := a.backupStorage()
	require.NoError(t, err)
	require.Equal(t, upload.Storage{Directory: "/mnt/spare"}, backup)
}

// Fixed names, such as live/room.m3u8, need it everywhere a recording may go.
func TestStorageOverwrite(t *testing.T) {
	for name, places := range map[string]string{
		"buckets":     "s3: {bucket: recordings}, backup: {gcp: {bucket: spare}}",
		"directories": "directory: /srv/recordings, backup: {directory: /mnt/spare}",
	} {
		for _, want := range []bool{false, true} {
			a, err := storageConfig(t, fmt.Sprintf("storage: {%s, overwrite: %t}", places, want))
			require.NoError(t, err)
			storage, err := a.storage("")
			require.NoError(t, err)
			opts, err := a.spoolOptions(storage, nil)
			require.NoError(t, err)
			require.Equal(t, want, opts.Default.Overwrite, name)
			require.Equal(t, want, opts.Backup.Overwrite, name)
			require.Equal(t, want, opts.Overwrite, "the jobs' own")
		}
	}
	t.Setenv("TAPEDECK_STORAGE_OVERWRITE", "true")
	a := &app{}
	require.NoError(t, a.load(&cobra.Command{}))
	storage, err := a.storage("/elsewhere")
	require.NoError(t, err)
	require.Equal(t, upload.Storage{Directory: "/elsewhere", Overwrite: true}, storage)
	opts, err := a.spoolOptions(storage, nil)
	require.NoError(t, err)
	require.Equal(t, upload.Storage{}, opts.Backup, "no backup came of it")
}

func TestStorageConfigFaults(t *testing.T) {
	_, err := storageConfig(t, `
storage:
  directory: /srv/recordings
  s3: {bucket: recordings}
  backup: {azure: {account_name: account, account_key: "not-base64-s3cr3t", container_name: spare}}
  backup_after: -1s
  send_within: -2s
`)
	for _, want := range []string{"storage.directory", "storage.backup.azure.account_key", "storage.backup_after", "storage.send_within"} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "not-base64-s3cr3t")
	_, err = storageConfig(t, "storage: {s3: {region: eu-central-1}}")
	require.ErrorContains(t, err, "storage.s3.bucket")
	_, err = storageConfig(t, "storage: {backup: {s3: {bukcet: spare}}}")
	require.ErrorContains(t, err, "bukcet")
}
