package recorder_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

const accountKey = "c2VjcmV0LWF6dXJlLWtleS1uZXZlci1zaG93bg=="

func serviceAccount() string {
	return `{"type": "service_account", "client_email": "a@b.iam.gserviceaccount.com", "private_key": "5ecret-k3y"}`
}

func TestValidateStorage(t *testing.T) {
	s3 := func(change func(*recorder.S3Upload)) recorder.Storage {
		u := &recorder.S3Upload{Bucket: "bbb", AccessKey: "k3y-5ecret", Secret: "5ecret"}
		change(u)
		return recorder.Storage{S3: u}
	}
	gcp := func(u recorder.GCPUpload) recorder.Storage { return recorder.Storage{GCP: &u} }
	azure := func(u recorder.AzureBlobUpload) recorder.Storage { return recorder.Storage{Azure: &u} }
	oss := func(u recorder.AliOSSUpload) recorder.Storage { return recorder.Storage{AliOSS: &u} }
	for _, c := range []struct {
		storage     recorder.Storage
		field, says string
	}{
		{s3(func(u *recorder.S3Upload) { u.Bucket = "" }), "s3.bucket", "3 to 255"},
		{s3(func(u *recorder.S3Upload) { u.Region = "us east" }), "s3.region", "such as eu-central-1"},
		{s3(func(u *recorder.S3Upload) { u.Region = "eu_central_1" }), "s3.region", "such as eu-central-1"},
		{s3(func(u *recorder.S3Upload) { u.Secret = "" }), "s3.secret", "belong together"},
		{s3(func(u *recorder.S3Upload) { u.AssumeRoleARN = "role" }), "s3.assume_role_arn", "arn:aws:iam::"},
		{s3(func(u *recorder.S3Upload) { u.AssumeRoleExternalID = "5ecret-x" }), "s3.assume_role_external_id", "name the role"},
		{s3(func(u *recorder.S3Upload) { u.Endpoint = "https://u:5ecret@host" }), "s3.endpoint", "user info"},
		{s3(func(u *recorder.S3Upload) { u.Proxy = "ftp://u:5ecret@host" }), "s3.proxy", "https://"},
		{s3(func(u *recorder.S3Upload) { u.Metadata = map[string]string{"a b": "c"} }), "s3.metadata.a b", "HTTP header"},
		{s3(func(u *recorder.S3Upload) { u.Metadata = map[string]string{"a": "ü"} }), "s3.metadata.a", "HTTP header"},
		{s3(func(u *recorder.S3Upload) { u.ContentDisposition = "a\nb" }), "s3.content_disposition", "one line"},
		{s3(func(u *recorder.S3Upload) { u.Tagging = "a=%26" }), "s3.tagging", "letters, digits, spaces"},
		{s3(func(u *recorder.S3Upload) { u.Tagging = strings.Repeat("a=b&", 2) }), "s3.tagging", "no key comes twice"},
		{gcp(recorder.GCPUpload{Bucket: "A"}), "gcp.bucket", "3 to 255"},
		{gcp(recorder.GCPUpload{Bucket: "bbb", Credentials: `{"type": "external_account"}`}), "gcp.credentials", "service account"},
		{gcp(recorder.GCPUpload{Bucket: "bbb", Credentials: "5ecret"}), "gcp.credentials", "service account"},
		{gcp(recorder.GCPUpload{Bucket: "bbb", Proxy: "5ecret"}), "gcp.proxy", "https://"},
		{azure(recorder.AzureBlobUpload{AccountName: "evil.example/", AccountKey: accountKey, ContainerName: "ccc"}), "azure.account_name", "3 to 24"},
		{azure(recorder.AzureBlobUpload{AccountName: "aaa", AccountKey: "5ecret!", ContainerName: "ccc"}), "azure.account_key", "base64"},
		{azure(recorder.AzureBlobUpload{AccountName: "aaa", AccountKey: accountKey, ContainerName: "a--b"}), "azure.container_name", "3 to 63"},
		{oss(recorder.AliOSSUpload{AccessKey: "k3y-5ecret", Secret: "5ecret", Endpoint: "host", Bucket: "a.b"}), "ali_oss.bucket", "3 to 63"},
		{oss(recorder.AliOSSUpload{AccessKey: "k3y-5ecret", Endpoint: "host", Bucket: "bbb"}), "ali_oss.secret", "give both"},
		{oss(recorder.AliOSSUpload{AccessKey: "k3y-5ecret", Secret: "5ecret", Bucket: "bbb"}), "ali_oss.endpoint", "name the region"},
		{oss(recorder.AliOSSUpload{AccessKey: "k3y-5ecret", Secret: "5ecret", Bucket: "bbb", Endpoint: "ftp://h"}), "ali_oss.endpoint", "https://"},
		{recorder.Storage{S3: &recorder.S3Upload{Bucket: "bbb"}, GCP: &recorder.GCPUpload{Bucket: "bbb"}}, "gcp", "exclude each other"},
	} {
		err := recorder.ValidateStorage("storage", c.storage)
		var faults recorder.Faults
		require.ErrorAs(t, err, &faults, c.field)
		require.Len(t, faults, 1, err)
		require.Equal(t, "storage."+c.field, faults[0].Field)
		require.Contains(t, faults[0].Remedy, c.says)
		require.NotContains(t, err.Error(), "5ecret")
	}
	for _, right := range []recorder.Storage{
		{},
		s3(func(u *recorder.S3Upload) {
			u.Endpoint, u.Proxy = "https://s3.example.com", "http://u:p@proxy:3128"
			u.AssumeRoleARN, u.AssumeRoleExternalID = "arn:aws:iam::123456789012:role/team/recorder", "x"
			u.Metadata, u.Tagging, u.ContentDisposition = map[string]string{"team": "a b"}, "a=b&c=d+e", "inline"
		}),
		gcp(recorder.GCPUpload{Bucket: "bbb"}),
		gcp(recorder.GCPUpload{Bucket: "bbb", Credentials: serviceAccount()}),
		azure(recorder.AzureBlobUpload{AccountName: "aaa", AccountKey: accountKey, ContainerName: "$web"}),
		oss(recorder.AliOSSUpload{AccessKey: "kkk", Secret: "s", Bucket: "bbb", Endpoint: "oss-eu-central-1.aliyuncs.com"}),
	} {
		require.NoError(t, recorder.ValidateStorage("storage", right))
	}
}

func TestValidateBackupStorage(t *testing.T) {
	job := recorder.Job{Source: recorder.Source{URL: "https://example.com"}, Files: []recorder.FileOutput{{}}, Backup: &recorder.Storage{}}
	require.ErrorContains(t, job.Validate(), "backup_storage: name a storage")
	job.Backup.GCP = &recorder.GCPUpload{Bucket: "b"}
	require.ErrorContains(t, job.Validate(), "backup_storage.gcp.bucket")
	job.Backup.GCP.Bucket = "bbb"
	require.NoError(t, job.Validate())
}

func TestScrubStorages(t *testing.T) {
	job := recorder.Job{
		Files:  []recorder.FileOutput{{Storage: recorder.Storage{GCP: &recorder.GCPUpload{Credentials: serviceAccount(), Proxy: "http://u:pr0xy-s3cr3t@h"}}}},
		Images: []recorder.ImageOutput{{Storage: recorder.Storage{Azure: &recorder.AzureBlobUpload{AccountKey: accountKey}}}},
		Backup: &recorder.Storage{AliOSS: &recorder.AliOSSUpload{AccessKey: "LTAIaccesskey", Secret: "oss-s3cr3t"}},
	}
	said := "5ecret-k3y and " + accountKey + " and LTAIaccesskey, oss-s3cr3t, pr0xy-s3cr3t"
	require.Equal(t, "{redacted} and {redacted} and {redacted}, {redacted}, redacted", recorder.NewScrubber(job).Text(said))
}
