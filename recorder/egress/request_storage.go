package egress

import (
	"net/url"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// storageOf is the storage an output names; zero, for the worker's own, when it
// names none.
func storageOf(o output) (recorder.Storage, error) {
	u := o.storage
	if u == nil {
		return recorder.Storage{}, nil
	}
	switch {
	case u.GetS3() != nil:
		s3 := u.GetS3()
		proxy, err := proxyURL(o.field+".s3.proxy", s3.Proxy)
		return recorder.Storage{S3: &recorder.S3Upload{
			AccessKey: s3.AccessKey, Secret: s3.Secret, SessionToken: s3.SessionToken,
			AssumeRoleARN: s3.AssumeRoleArn, AssumeRoleExternalID: s3.AssumeRoleExternalId,
			Region: s3.Region, Endpoint: s3.Endpoint, Bucket: s3.Bucket, ForcePathStyle: s3.ForcePathStyle,
			Metadata: s3.Metadata, Tagging: s3.Tagging, ContentDisposition: s3.ContentDisposition, Proxy: proxy,
		}}, err
	case u.GetGcp() != nil:
		gcp := u.GetGcp()
		proxy, err := proxyURL(o.field+".gcp.proxy", gcp.Proxy)
		return recorder.Storage{GCP: &recorder.GCPUpload{Credentials: gcp.Credentials, Bucket: gcp.Bucket, Proxy: proxy}}, err
	case u.GetAzure() != nil:
		a := u.GetAzure()
		return recorder.Storage{Azure: &recorder.AzureBlobUpload{
			AccountName: a.AccountName, AccountKey: a.AccountKey, ContainerName: a.ContainerName,
		}}, nil
	case u.GetAliOSS() != nil:
		a := u.GetAliOSS()
		return recorder.Storage{AliOSS: &recorder.AliOSSUpload{
			AccessKey: a.AccessKey, Secret: a.Secret, Region: a.Region, Endpoint: a.Endpoint, Bucket: a.Bucket,
		}}, nil
	default:
		return recorder.Storage{}, nil
	}
}

// proxyURL puts user and password into the URL, where HTTP clients look for them.
func proxyURL(field string, p *livekit.ProxyConfig) (string, error) {
	if p == nil || (p.Url == "" && p.Username == "" && p.Password == "") {
		return "", nil
	}
	u, err := url.Parse(p.Url)
	if err != nil || u.Host == "" { // the error quotes the URL
		return "", invalid(field+".url", "is no valid URL: write http://host:port")
	}
	if p.Username != "" || p.Password != "" {
		u.User = url.UserPassword(p.Username, p.Password)
	}
	return u.String(), nil
}
