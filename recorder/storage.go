package recorder

import (
	"encoding/json"
	"maps"
)

// Storage is where an output is uploaded to: at most one of its fields is set.
// Names and spelling are those of LiveKit's upload messages.
type Storage struct {
	S3     *S3Upload        `json:"s3,omitempty"`
	GCP    *GCPUpload       `json:"gcp,omitempty"`
	Azure  *AzureBlobUpload `json:"azure,omitempty"`
	AliOSS *AliOSSUpload    `json:"ali_oss,omitempty"`
}

// S3Upload is a bucket and how to reach it.
type S3Upload struct {
	AccessKey    string `json:"access_key,omitempty"`
	Secret       string `json:"secret,omitempty"`
	SessionToken string `json:"session_token,omitempty"`
	// AssumeRoleARN is assumed with the credentials above, or the worker's own, and
	// AssumeRoleExternalID, which is a secret.
	AssumeRoleARN        string            `json:"assume_role_arn,omitempty"`
	AssumeRoleExternalID string            `json:"assume_role_external_id,omitempty"`
	Region               string            `json:"region,omitempty"`
	Endpoint             string            `json:"endpoint,omitempty"`
	Bucket               string            `json:"bucket"`
	ForcePathStyle       bool              `json:"force_path_style,omitempty"`
	Metadata             map[string]string `json:"metadata,omitempty"`
	Tagging              string            `json:"tagging,omitempty"` // "key=value&key2=value2"
	ContentDisposition   string            `json:"content_disposition,omitempty"`
	// Proxy is an HTTP proxy's URL, user and password included: a secret.
	Proxy string `json:"proxy,omitempty"`
}

// GCPUpload is a bucket of Google Cloud Storage.
type GCPUpload struct {
	// Credentials are those of a service account, as JSON: a secret. Without them the
	// machine's own are used.
	Credentials string `json:"credentials,omitempty"`
	Bucket      string `json:"bucket"`
	// Proxy is an HTTP proxy's URL, user and password included: a secret.
	Proxy string `json:"proxy,omitempty"`
}

// AzureBlobUpload is a container of Azure Blob Storage.
type AzureBlobUpload struct {
	AccountName   string `json:"account_name,omitempty"`
	AccountKey    string `json:"account_key,omitempty"`
	ContainerName string `json:"container_name"`
}

// AliOSSUpload is a bucket of Alibaba Cloud's Object Storage Service.
type AliOSSUpload struct {
	AccessKey string `json:"access_key,omitempty"`
	Secret    string `json:"secret,omitempty"`
	Region    string `json:"region,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	Bucket    string `json:"bucket"`
}

// IsZero reports whether no storage is named.
func (s Storage) IsZero() bool { return s == Storage{} }

func (s Storage) clone() Storage {
	if s.S3 != nil {
		s3 := *s.S3
		s3.Metadata = maps.Clone(s3.Metadata)
		s.S3 = &s3
	}
	if s.GCP != nil {
		gcp := *s.GCP
		s.GCP = &gcp
	}
	if s.Azure != nil {
		azure := *s.Azure
		s.Azure = &azure
	}
	if s.AliOSS != nil {
		oss := *s.AliOSS
		s.AliOSS = &oss
	}
	return s
}

// storages lists every storage that the job names.
func (j Job) storages() []Storage {
	var all []Storage
	for _, o := range j.Files {
		all = append(all, o.Storage)
	}
	for _, o := range j.Segments {
		all = append(all, o.Storage)
	}
	for _, o := range j.Images {
		all = append(all, o.Storage)
	}
	if j.Backup != nil {
		all = append(all, *j.Backup)
	}
	return all
}

// secrets gives every value that must not be seen.
func (s *Storage) secrets() []*string {
	var all []*string
	if s.S3 != nil {
		all = append(all, &s.S3.AccessKey, &s.S3.Secret, &s.S3.SessionToken, &s.S3.AssumeRoleExternalID, &s.S3.Proxy)
	}
	if s.GCP != nil {
		all = append(all, &s.GCP.Credentials, &s.GCP.Proxy)
	}
	if s.Azure != nil {
		all = append(all, &s.Azure.AccountKey)
	}
	if s.AliOSS != nil {
		all = append(all, &s.AliOSS.AccessKey, &s.AliOSS.Secret)
	}
	return all
}

// redact hides what must not be seen, in place.
func (s *Storage) redact() {
	for _, secret := range s.secrets() {
		*secret = hide(*secret)
	}
	if s.S3 != nil {
		s.S3.Endpoint = RedactURL(s.S3.Endpoint)
	}
	if s.AliOSS != nil {
		s.AliOSS.Endpoint = RedactURL(s.AliOSS.Endpoint)
	}
}

func (s *Storage) addSecrets(pairs map[string]string) {
	for _, secret := range s.secrets() {
		addSecret(pairs, *secret, hidden)
	}
	if s.S3 != nil {
		addURLSecrets(pairs, s.S3.Endpoint)
		addURLSecrets(pairs, s.S3.Proxy)
	}
	if s.GCP != nil {
		addURLSecrets(pairs, s.GCP.Proxy)
		// Whoever quotes the credentials quotes a part of them.
		var account struct {
			Key string `json:"private_key"`
			ID  string `json:"private_key_id"`
		}
		if json.Unmarshal([]byte(s.GCP.Credentials), &account) == nil {
			addSecret(pairs, account.Key, hidden)
			addSecret(pairs, account.ID, hidden)
		}
	}
	if s.AliOSS != nil {
		addURLSecrets(pairs, s.AliOSS.Endpoint)
	}
}
