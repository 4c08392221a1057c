package recorder

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// ValidateStorage reports every fault of a storage that is not a job's, as
// Faults; field goes before their names. It looks at nothing but s.
func ValidateStorage(field string, s Storage) error {
	var f Faults
	s.validate(&f, field)
	return f.errOrNil()
}

// validate is the one place that knows what each storage needs; nothing named is right.
func (s Storage) validate(f *Faults, field string) {
	var named []string
	if s.S3 != nil {
		named = append(named, "s3")
		s.S3.validate(f, field+".s3")
	}
	if s.GCP != nil {
		named = append(named, "gcp")
		s.GCP.validate(f, field+".gcp")
	}
	if s.Azure != nil {
		named = append(named, "azure")
		s.Azure.validate(f, field+".azure")
	}
	if s.AliOSS != nil {
		named = append(named, "ali_oss")
		s.AliOSS.validate(f, field+".ali_oss")
	}
	if len(named) > 1 {
		f.add(field+"."+named[1], nil, "%s exclude each other: set one of them", strings.Join(named, " and "))
	}
}

var (
	bucketPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,253}[a-z0-9]$`)
	ossBucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
	accountPattern   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	regionPattern    = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`) // what the SDK puts into a host's name
	containerPattern = regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9])+)$`)
	rolePattern      = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}$`)
	headerName       = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	tagText          = regexp.MustCompile(`^[\p{L}\p{N}\p{Z}+=._:/@-]*$`)
)

func validateBucket(f *Faults, field, bucket string) {
	if !bucketPattern.MatchString(bucket) {
		f.add(field, bucket, "use 3 to 255 characters of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
}

func (s S3Upload) validate(f *Faults, field string) {
	validateBucket(f, field+".bucket", s.Bucket)
	if s.Endpoint != "" {
		validateEndpoint(f, field+".endpoint", s.Endpoint)
	}
	if s.Region != "" && !regionPattern.MatchString(s.Region) {
		f.add(field+".region", s.Region, "use 1 to 63 characters of A-Z a-z 0-9 -, such as eu-central-1, or none")
	}
	if (s.AccessKey == "") != (s.Secret == "") {
		f.add(field+".secret", nil, "access_key and secret belong together: give both, or neither for the worker's own credentials")
	}
	if s.SessionToken != "" && s.AccessKey == "" {
		f.add(field+".session_token", nil, "needs access_key and secret beside it")
	}
	s.validateRole(f, field)
	s.validateHeaders(f, field)
	validateTagging(f, field+".tagging", s.Tagging)
	validateProxy(f, field+".proxy", s.Proxy)
}

func (s S3Upload) validateRole(f *Faults, field string) {
	switch {
	case s.AssumeRoleARN == "" && s.AssumeRoleExternalID != "":
		f.add(field+".assume_role_external_id", nil, "goes with assume_role_arn: name the role")
	case s.AssumeRoleARN != "" && !rolePattern.MatchString(s.AssumeRoleARN):
		f.add(field+".assume_role_arn", s.AssumeRoleARN, "write arn:aws:iam::<12 digits>:role/<name>")
	}
}

// validateHeaders: what S3 signs and gives back unchanged is printable ASCII.
func (s S3Upload) validateHeaders(f *Faults, field string) {
	if !headerValue(s.ContentDisposition) {
		f.add(field+".content_disposition", nil, "use one line of printable ASCII")
	}
	validateMetadataAt(f, field+".metadata", s.Metadata)
	for _, k := range slices.Sorted(maps.Keys(s.Metadata)) {
		v := s.Metadata[k]
		if k != "" && !strings.ContainsAny(k+v, "\r\n\x00") && (!headerName.MatchString(k) || !headerValue(v)) {
			f.add(field+".metadata."+k, fmt.Sprintf("%d bytes", len(v)), "becomes an HTTP header: use A-Z a-z 0-9 _ . - in its name and printable ASCII in its value")
		}
	}
}

func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func validateTagging(f *Faults, field, tagging string) {
	const most, longestKey, longestValue = 10, 128, 256
	tags, err := url.ParseQuery(tagging)
	if err != nil || len(tags) > most {
		f.add(field, tagging, "write at most %d tags as key=value&key2=value2, URL-encoded", most)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v := tags[k]
		switch {
		case k == "" || len(v) != 1 || len([]rune(k)) > longestKey || len([]rune(v[0])) > longestValue:
			f.add(field, tagging, "a key has 1 to %d characters, a value up to %d, and no key comes twice", longestKey, longestValue)
		case !tagText.MatchString(k + v[0]):
			f.add(field, tagging, "keys and values may hold letters, digits, spaces and + - = . _ : / @")
		}
	}
}

// validateEndpoint: user info in it would be shown where the endpoint is.
func validateEndpoint(f *Faults, field, raw string) {
	before := len(*f)
	validateURL(f, field, raw, "http", "https")
	if u, err := url.Parse(raw); len(*f) == before && err == nil && u.User != nil {
		f.add(field, RedactURL(raw), "holds user info: give the credentials in their own fields")
	}
}

func validateProxy(f *Faults, field, raw string) {
	if raw != "" {
		validateURL(f, field, raw, "http", "https")
	}
}

func (s GCPUpload) validate(f *Faults, field string) {
	validateBucket(f, field+".bucket", s.Bucket)
	validateProxy(f, field+".proxy", s.Proxy)
	if s.Credentials == "" {
		return
	}
	// Other types name programs to run and URLs to ask, which is not a client's to say.
	var account struct {
		Type  string `json:"type"`
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
	}
	err := json.Unmarshal([]byte(s.Credentials), &account)
	if err != nil || account.Type != "service_account" || account.Email == "" || account.Key == "" {
		f.add(field+".credentials", nil, `give the JSON key of a service account: "type": "service_account" with client_email and private_key`)
	}
}

func (s AzureBlobUpload) validate(f *Faults, field string) {
	if !accountPattern.MatchString(s.AccountName) {
		f.add(field+".account_name", s.AccountName, "use 3 to 24 characters of a-z 0-9")
	}
	if key, err := base64.StdEncoding.DecodeString(s.AccountKey); err != nil || len(key) == 0 {
		f.add(field+".account_key", nil, "give the storage account's key, which is base64")
	}
	if n := len(s.ContainerName); n < 3 || n > 63 || !containerPattern.MatchString(s.ContainerName) {
		f.add(field+".container_name", s.ContainerName, "use 3 to 63 characters of a-z 0-9 and single -, beginning and ending with a letter or digit")
	}
}

func (s AliOSSUpload) validate(f *Faults, field string) {
	if !ossBucketPattern.MatchString(s.Bucket) {
		f.add(field+".bucket", s.Bucket, "use 3 to 63 characters of a-z 0-9 -, beginning and ending with a letter or digit")
	}
	if s.AccessKey == "" || s.Secret == "" {
		f.add(field+".secret", nil, "access_key and secret belong together: give both")
	}
	if s.Endpoint == "" {
		f.add(field+".endpoint", nil, "name the region's endpoint, such as oss-eu-central-1.aliyuncs.com")
		return
	}
	validateEndpoint(f, field+".endpoint", s.URL())
}

// URL gives the endpoint with its scheme: https where none is written.
func (s AliOSSUpload) URL() string {
	if strings.Contains(s.Endpoint, "://") {
		return s.Endpoint
	}
	return "https://" + s.Endpoint
}
