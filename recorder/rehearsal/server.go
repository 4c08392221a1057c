package rehearsal

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

const serverBinary = "livekit-server"

// ServerOptions are how StartServer runs its server. The zero value works.
type ServerOptions struct {
	// Binary is the path of livekit-server. When empty it is looked up in PATH, beside
	// our own executable and in build/bin beside its directory.
	Binary string
	// Redis is the host:port of the Redis that the server shares with recorders. None
	// when empty; the server then knows no egress.
	Redis string
	// Webhooks get the server's events, signed with APIKey.
	Webhooks []string
	// RefuseUnknownRooms makes joining a room that nobody created an error.
	RefuseUnknownRooms bool
	// EmptyTimeout is how long a room that nobody joined is kept, DepartureTimeout one
	// that everybody left. Whole seconds, from 1 s; LiveKit's own when zero (5 min, 20 s).
	EmptyTimeout, DepartureTimeout time.Duration
	// StartWithin bounds a start. Default 20 s.
	StartWithin time.Duration
	// Log gets what the server logs, at debug level. None when nil.
	Log *zap.Logger
}

func (o ServerOptions) withDefaults() (ServerOptions, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.StartWithin <= 0 {
		o.StartWithin = 20 * time.Second
	}
	for name, d := range map[string]time.Duration{"EmptyTimeout": o.EmptyTimeout, "DepartureTimeout": o.DepartureTimeout} {
		if d < 0 || d%time.Second != 0 {
			return o, recorder.Errorf(recorder.CodeInvalid, "%s: %s: give whole seconds", name, d)
		}
	}
	var err error
	o.Binary, err = findServer(o.Binary)
	return o, err
}

// findServer gives the path of the binary.
func findServer(path string) (string, error) {
	if path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", recorder.Errorf(recorder.CodeUnavailable, "livekit-server: %q cannot be run: %w", path, err)
		}
		return found, nil
	}
	if found, err := exec.LookPath(serverBinary); err == nil {
		return found, nil
	}
	own, err := os.Executable()
	if err == nil {
		beside := filepath.Dir(own)
		for _, dir := range []string{beside, filepath.Join(filepath.Dir(beside), "build", "bin")} {
			if found, err := exec.LookPath(filepath.Join(dir, serverBinary)); err == nil {
				return found, nil
			}
		}
	}
	return "", recorder.Errorf(recorder.CodeUnavailable,
		"livekit-server is neither in PATH nor beside %s: build it with `make tools`, or name its path", own)
}

// Server is a livekit-server on loopback, in a process of its own that dies with
// ours. Its methods may be called at once.
type Server struct {
	// APIKey and APISecret are the only ones it accepts. They are in no file, argument or log.
	APIKey, APISecret string

	opts ServerOptions
	stun *stunServer
	port int // of signalling, the same after Restart

	mu     sync.Mutex
	closed bool
	life   *serverLife // nil while it is down
}

// StartServer returns when the server accepts its key. The error has
// CodeUnavailable when there is no livekit-server or it does not start, with the
// end of its log.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{APIKey: "API" + rand.Text()[:12], APISecret: rand.Text() + rand.Text(), opts: o}
	if s.stun, err = startSTUN(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Somebody else may take a port after it was found free: then others are tried.
	for range 5 {
		if s.port, err = freePort("tcp4"); err != nil {
			break
		}
		if err = s.start(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		s.stun.close()
		return nil, err
	}
	return s, nil
}

// URL is where clients connect: ws://127.0.0.1:PORT.
func (s *Server) URL() string { return "ws://" + s.address() }

func (s *Server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Kill ends the server as a crash would, and waits until it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.life != nil {
		s.life.kill()
		s.life = nil
	}
}

// Restart starts the server anew, killing it first if it runs: same URL, same
// keys, no rooms.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return recorder.Errorf(recorder.CodeConflict, "livekit-server: it was closed and cannot be restarted")
	}
	s.kill()
	return s.start(ctx)
}

// Close ends the server; nothing of it is left when it returns. Whoever is in a
// room loses the connection.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.kill()
	s.stun.close()
}

func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.StartWithin, errTooSlow)
	defer cancel()
	media, err := freePort("udp4")
	if err != nil {
		return err
	}
	config, err := yaml.Marshal(s.config(media))
	if err != nil {
		return recorder.Errorf(recorder.CodeInternal, "livekit-server's configuration: %w", err)
	}
	life, err := startLife(s.opts, config, s.APIKey, s.APISecret)
	if err != nil {
		return err
	}
	if err := s.await(ctx, life); err != nil {
		life.kill()
		return err
	}
	s.life = life
	return nil
}

var errTooSlow = errors.New("it took too long")

// await returns when the server lists its rooms: that it is ours, and no other on
// the same port, shows in its accepting the key.
func (s *Server) await(ctx context.Context, life *serverLife) error {
	client := lksdk.NewRoomServiceClient("http://"+s.address(), s.APIKey, s.APISecret)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := client.ListRooms(ctx, &livekit.ListRoomsRequest{})
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-life.ended:
			return life.obituary()
		case <-ctx.Done():
			return recorder.Errorf(recorder.CodeUnavailable, "livekit-server does not answer: %w%s", context.Cause(ctx), life.tail.suffix())
		}
	}
}

// config is the server's configuration file. Everything is on loopback: one TCP
// port for signalling, one UDP port for media, and our own STUN server, without
// which clients would be told to ask servers on the Internet.
func (s *Server) config(media int) map[string]any {
	room := map[string]any{"auto_create": !s.opts.RefuseUnknownRooms}
	if s.opts.EmptyTimeout > 0 {
		room["empty_timeout"] = int(s.opts.EmptyTimeout.Seconds())
	}
	if s.opts.DepartureTimeout > 0 {
		room["departure_timeout"] = int(s.opts.DepartureTimeout.Seconds())
	}
	c := map[string]any{
		"port": s.port, "bind_addresses": []string{"127.0.0.1"},
		"keys": map[string]string{s.APIKey: s.APISecret},
		"rtc": map[string]any{
			"tcp_port": 0, "udp_port": media, "node_ip": "127.0.0.1", "use_external_ip": false,
			"enable_loopback_candidate": true, "stun_servers": []string{s.stun.address()},
			"interfaces": map[string]any{"includes": []string{"lo"}}, "ips": map[string]any{"includes": []string{"127.0.0.1/32"}},
		},
		"room":    room,
		"logging": map[string]any{"level": "info", "json": false},
	}
	if s.opts.Redis != "" {
		c["redis"] = map[string]any{"address": s.opts.Redis}
	}
	if len(s.opts.Webhooks) > 0 {
		c["webhook"] = map[string]any{"urls": s.opts.Webhooks, "api_key": s.APIKey}
	}
	return c
}

// The ports of servers are below those that the kernel gives to clients
// (ip_local_port_range, from 32768 on): of these any may be a client's in the moment after
// it was found free, or while the server is being started again.
const firstPort, lastPort = 12000, 30000

// freePort gives a port that nobody has on loopback at the moment.
func freePort(network string) (port int, err error) {
	for range 100 {
		port = firstPort + mathrand.IntN(lastPort-firstPort) //nolint:gosec // not a secret
		if err = tryPort(network, port); err == nil {
			return port, nil
		}
	}
	return 0, recorder.Errorf(recorder.CodeUnavailable, "no free port on loopback, %s: %w", network, err)
}

func tryPort(network string, port int) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var c io.Closer
	var err error
	if network == "udp4" {
		c, err = net.ListenPacket(network, address)
	} else {
		c, err = net.Listen(network, address)
	}
	if err != nil {
		return err
	}
	return c.Close()
}
