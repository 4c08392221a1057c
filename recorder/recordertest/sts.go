package recordertest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// STS answers AssumeRole as AWS's security token service does: it checks the
// request's signature (version 4) and the role, and gives the credentials it was
// told to. No S3 server that runs here has one.
type STS struct {
	URL string
	// AccessKey and Secret must have signed; Role and ExternalID be asked for.
	AccessKey, Secret, Role, ExternalID string
	// GiveKey and GiveSecret are what it answers.
	GiveKey, GiveSecret, GiveToken string

	mu    sync.Mutex
	asked int
}

// StartSTS starts it on a free loopback port; it ends with the test.
func StartSTS(t testing.TB, s *STS) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
}

// Asked counts the roles that were given.
func (s *STS) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *STS) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	form, parse := url.ParseQuery(string(body))
	w.Header().Set("Content-Type", "text/xml")
	switch {
	case err != nil || parse != nil || form.Get("Action") != "AssumeRole":
		refuse(w, http.StatusBadRequest, "InvalidAction")
	case !s.signed(r, body):
		refuse(w, http.StatusForbidden, "SignatureDoesNotMatch")
	case form.Get("RoleArn") != s.Role || form.Get("ExternalId") != s.ExternalID || form.Get("RoleSessionName") == "":
		refuse(w, http.StatusForbidden, "AccessDenied")
	default:
		s.mu.Lock()
		s.asked++
		s.mu.Unlock()
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
			`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, s.GiveKey, s.GiveSecret, s.GiveToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>refused</Message></Error></ErrorResponse>`, code)
}

// signed signs the request anew and compares.
func (s *STS) signed(r *http.Request, body []byte) bool {
	given := r.Header.Get("Authorization")
	_, fields, _ := strings.Cut(given, "Credential=")
	scope := strings.Split(strings.SplitN(fields, ",", 2)[0], "/") // key, date, region, service, aws4_request
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || len(scope) != 5 || scope[0] != s.AccessKey || scope[3] != "sts" || time.Since(at).Abs() > 5*time.Minute {
		return false
	}
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return false
	}
	again.ContentLength = int64(len(body))
	_, names, _ := strings.Cut(given, "SignedHeaders=")
	for name := range strings.SplitSeq(strings.SplitN(names, ",", 2)[0], ";") {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.Secret},
		again, sha256Hex(body), "sts", scope[2], at)
	return err == nil && again.Header.Get("Authorization") == given
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
