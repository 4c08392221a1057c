package upload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// class is what a failure means for the next try.
type class int

const (
	passing class = iota // the network, a busy server: may end by itself
	denied               // somebody must mend rights, keys, a bucket, a disk
	corrupt              // what arrived is not what was sent
	final                // nobody can mend it for this job, such as an expired URL
)

// tries bounds how often a class is tried; 0 is by time alone.
func (c class) tries() int {
	switch c {
	case corrupt:
		return 5 // each one sends the whole file again
	case final:
		return 3 // a gateway's hiccup may look like a refusal
	default:
		return 0
	}
}

// fault is a failed try with what would mend it.
type fault struct {
	class  class
	text   string
	remedy string
	cause  error
}

func (f *fault) Error() string {
	if f.remedy == "" {
		return f.text
	}
	return f.text + ": " + f.remedy
}

func (f *fault) Unwrap() error { return f.cause }

func faultf(c class, format string, args ...any) *fault {
	err := fmt.Errorf(format, args...)
	return &fault{class: c, text: err.Error(), cause: errors.Unwrap(err)}
}

// classOf gives the class of any error: what nobody classified may pass.
func classOf(err error) class {
	var f *fault
	if errors.As(err, &f) {
		return f.class
	}
	return passing
}

// netFault names what is wrong between here and a server. what is free of secrets.
func netFault(what string, err error) *fault {
	f := &fault{class: passing, text: what + ": " + netText(err), cause: err}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		f.text = fmt.Sprintf("%s: the name %q cannot be resolved", what, dns.Name)
		f.remedy = "check the endpoint's spelling and this machine's DNS"
	case errors.As(err, &unknown):
		f.class, f.remedy = denied, "add the server's CA to this machine's certificates (SSL_CERT_FILE)"
	case errors.As(err, &host), errors.As(err, &cert):
		f.class, f.remedy = denied, "use the name that the server's certificate is made out to, and check its dates"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		f.class, f.remedy = denied, "the server does not speak TLS there: write http:// if that is meant"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.remedy = "nothing listens there: check host and port, and that the server runs"
	case hungUp(err):
		f.remedy = "the server hung up while it was sent; some do so to refuse, and `tapedeck doctor` shows why"
	case errors.Is(err, errStalled):
		f.remedy = "the connection is there but nothing moves: check the link and the server"
	case errors.As(err, &timeout) && timeout.Timeout():
		f.remedy = "the server does not answer: check the address, routes and firewalls"
	}
	return f
}

func hungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// netText is the innermost message: the outer ones quote the URL.
func netText(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// diskFault names what is wrong with a local file.
func diskFault(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	f := &fault{class: denied, text: err.Error(), cause: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		f.remedy = "make room on that file system"
	case errors.Is(err, syscall.EROFS):
		f.remedy = "the file system is read-only: mount it writable"
	case errors.Is(err, fs.ErrPermission):
		f.remedy = "give the user that runs tapedeck the right to write there"
	case errors.Is(err, syscall.ENOTDIR):
		f.remedy = "a part of the path is a file: choose another name"
	}
	return f
}

// httpClass sorts the statuses of HTTP servers of any make.
func httpClass(status int, refused class) class {
	switch {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status == http.StatusTooManyRequests, status == http.StatusConflict:
		return passing
	default:
		return refused
	}
}

// skew gives how far this machine's clock is from a server's Date header.
func skew(date string, now time.Time) string {
	at, err := http.ParseTime(date)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (by %s)", now.Sub(at).Abs().Round(time.Second))
}

// clip keeps a server's words to one line of bearable length.
func clip(text string) string {
	const longest = 300
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return text
}
