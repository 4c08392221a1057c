package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

func httpFlag(cmd *cobra.Command, off string) {
	cmd.Flags().String("http", "", "serve LiveKit's egress API over HTTP on host:port (default "+off+")")
}

// httpConfig puts the --http flag over the configuration.
func (a *app) httpConfig(cmd *cobra.Command) error {
	applyFlag(cmd, "http", &a.config.HTTP.Listen)
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

// openHTTP listens at once: an address that is taken is told before anything is
// recorded. draining ends the health of whoever still answers.
func openHTTP(listen string, api http.Handler, draining <-chan struct{}, log *zap.Logger) (*httpDoor, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable,
			"http.listen: %q cannot be listened on: %w: choose another address with --http or TAPEDECK_HTTP_LISTEN", listen, err)
	}
	// No ServeMux: it would redirect the SDKs whose URL ends in a slash.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			health(w, draining)
			return
		}
		api.ServeHTTP(w, r)
	})
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
	log.Info("LiveKit's egress API is served", zap.String("address", "http://"+listener.Addr().String()))
	return d, nil
}

// What /healthz answers.
const (
	healthy     = "ok\n"
	drainingNow = "draining\n"
)

// health tells a load balancer where to go: not to a process that is shutting down.
func health(w http.ResponseWriter, draining <-chan struct{}) {
	select {
	case <-draining:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, drainingNow)
	default:
		_, _ = io.WriteString(w, healthy)
	}
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

// examineHTTP looks whether the door could be opened: its address is free, or a
// Tapedeck answers there already.
func (a *app) examineHTTP() finding {
	listen := a.config.HTTP.Listen
	f := finding{Name: "HTTP", OK: true, Detail: listen + " is free"}
	listener, err := net.Listen("tcp", listen)
	if err == nil {
		_ = listener.Close()
	} else if answersHealth(listen) {
		f.Detail = listen + ": this or another Tapedeck serves there"
	} else {
		f.OK, f.Detail, f.Remedy = false, err.Error(), "choose another address with http.listen or TAPEDECK_HTTP_LISTEN"
	}
	if f.OK && !a.config.LiveKit.hasKey() {
		f.OK, f.Remedy = false, "set livekit.api_key and livekit.api_secret: clients sign with them"
	}
	return f
}

func answersHealth(listen string) bool {
	client := &http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + listen + "/healthz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	return err == nil && (string(body) == healthy || string(body) == drainingNow)
}
