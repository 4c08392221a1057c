package upload

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"tapedeck/recorder"
)

// awsConfig: a job's own keys are used with nothing from this machine's
// environment; without keys the SDK's chain looks for the worker's. Either may
// assume a role.
func awsConfig(ctx context.Context, opts Options, conf recorder.S3Upload) (aws.Config, error) {
	cfg, err := awsIdentity(ctx, opts, conf)
	if err == nil && conf.AssumeRoleARN != "" {
		cfg, err = assumeRole(cfg, opts, conf)
	}
	return cfg, err
}

func awsIdentity(ctx context.Context, opts Options, conf recorder.S3Upload) (aws.Config, error) {
	var client aws.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		opts.tune(t)
		useProxy(t, conf.Proxy)
	})
	if opts.HTTPClient != nil {
		client = opts.HTTPClient
	}
	if conf.AccessKey != "" {
		return aws.Config{
			Region: regionOf(conf, ""), HTTPClient: client, Logger: logging.Nop{},
			Credentials: credentials.NewStaticCredentialsProvider(conf.AccessKey, conf.Secret, conf.SessionToken),
		}, nil
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithLogger(logging.Nop{}))
	cfg.Region = regionOf(conf, cfg.Region)
	return cfg, err
}

// assumeRole gives a configuration with the credentials of a role, renewed for
// as long as it is used. Where its service is, the operator may say in the SDK's
// own way (AWS_ENDPOINT_URL_STS).
func assumeRole(cfg aws.Config, opts Options, conf recorder.S3Upload) (aws.Config, error) {
	env, err := config.NewEnvConfig()
	if err != nil {
		return cfg, err
	}
	asking := cfg.Copy()
	asking.Retryer = opts.awsRetryer
	asking.ConfigSources = append([]any{env}, cfg.ConfigSources...)
	role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(asking), conf.AssumeRoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "tapedeck"
		o.ExternalID = optional(conf.AssumeRoleExternalID)
	})
	cfg.Credentials = aws.NewCredentialsCache(role)
	return cfg, nil
}

// awsRetryer repeats what failed at once.
func (o Options) awsRetryer() aws.Retryer {
	return retry.NewStandard(func(so *retry.StandardOptions) {
		so.MaxAttempts, so.MaxBackoff = 3, min(5*time.Second, o.Backoff.Max)
		so.Retryables = slices.Insert(so.Retryables, 0, retry.IsErrorRetryable(retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if waited(err) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})))
	})
}

// regionOf: servers other than AWS mostly take any, and us-east-1 always.
func regionOf(conf recorder.S3Upload, fallback string) string {
	switch {
	case conf.Region != "":
		return conf.Region
	case fallback != "" && conf.Endpoint == "":
		return fallback
	default:
		return "us-east-1"
	}
}

// useProxy sends everything through an output's own proxy. Its URL was validated.
func useProxy(t *http.Transport, proxy string) {
	if u, err := url.Parse(proxy); proxy != "" && err == nil {
		t.Proxy = http.ProxyURL(u)
	}
}
