package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/control"
)

func httpFlag(cmd *cobra.Command, off string) {
	cmd.Flags().String("http", "", "serve LiveKit's egress API over HTTP on host:port (default "+off+")")
	cmd.Flags().String("metrics", "", "serve /metrics and /healthz alone on host:port (default: beside the API, where that is served)")
}

// httpConfig puts the flags over the configuration.
func (a *app) httpConfig(cmd *cobra.Command) error {
	applyFlag(cmd, "http", &a.config.HTTP.Listen)
	applyFlag(cmd, "metrics", &a.config.HTTP.Metrics)
	return a.config.validate()
}

// How long a client may take over a request, and a request that is being answered
// may hold up the end.
const (
	requestTimeout  = 30 * time.Second
	shutdownTimeout = 5 * time.Second
)

// httpDoor is an HTTP server that is up.
type httpDoor struct {
	server *http.Server
	served chan struct{}
	log    *zap.Logger
}

// sights are what operators look at.
type sights struct{ health, metrics http.Handler }

// over puts them before an API.
func (s sights) over(api http.Handler) http.Handler {
	// No ServeMux: it would redirect the SDKs whose URL ends in a slash.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
			s.health.ServeHTTP(w, r)
		case r.URL.Path == "/metrics" && s.metrics != nil:
			s.metrics.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// address is one of the configuration's: where that has it, and what it is.
type address struct{ field, flag, listen string }

// variable names the variable of an address.
func (a address) variable() string {
	return "TAPEDECK_" + strings.ToUpper(strings.ReplaceAll(a.field, ".", "_"))
}

func (c HTTPConfig) api() address { return address{"http.listen", "--http", c.Listen} }

func (c HTTPConfig) operators() address { return address{"http.metrics", "--metrics", c.Metrics} }

// openHTTP listens at once: an address that is taken is told before anything is
// recorded. what says what is served there.
func openHTTP(at address, what string, handler http.Handler, log *zap.Logger) (*httpDoor, error) {
	listener, err := net.Listen("tcp", at.listen)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable,
			"%s: %q cannot be listened on: %w: choose another address with %s or %s", at.field, at.listen, err, at.flag, at.variable())
	}
	d := &httpDoor{
		server: &http.Server{
			Handler: handler, ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, IdleTimeout: 2 * time.Minute,
			ErrorLog: zap.NewStdLog(log),
		},
		served: make(chan struct{}), log: log,
	}
	go func() {
		defer close(d.served)
		if err := d.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server ended", zap.Error(err))
		}
	}()
	log.Info(what, zap.String("address", "http://"+listener.Addr().String()))
	return d, nil
}

// close takes no more requests, and lets those that came be answered.
func (d *httpDoor) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := d.server.Shutdown(ctx); err != nil {
		d.log.Warn("requests were cut off", zap.Error(err))
		_ = d.server.Close()
	}
	<-d.served
}

// examineHTTP looks whether the doors could be opened: their addresses are free, or a
// Tapedeck answers there already.
func (a *app) examineHTTP() []finding {
	var found []finding
	if at := a.config.HTTP.api(); at.listen != "" {
		f := examineListen("HTTP", at)
		if f.OK && !a.config.LiveKit.hasKey() {
			f.OK, f.Remedy = false, "set livekit.api_key and livekit.api_secret: clients sign with them"
		}
		found = append(found, f)
	}
	if at := a.config.HTTP.operators(); at.listen != "" {
		found = append(found, examineListen("metrics", at))
	}
	return found
}

func examineListen(name string, at address) finding {
	f := finding{Name: name, OK: true, Detail: at.listen + " is free"}
	listener, err := net.Listen("tcp", at.listen)
	if err == nil {
		_ = listener.Close()
	} else if answersHealth(at.listen) {
		f.Detail = at.listen + ": this or another Tapedeck serves there"
	} else {
		f.OK, f.Detail, f.Remedy = false, err.Error(), "choose another address with "+at.field+" or "+at.variable()
	}
	return f
}

func answersHealth(listen string) bool {
	client := &http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + listen + "/healthz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return err == nil && control.IsHealth(string(body))
}
