package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"tapedeck/recorder/recordertest"
)

// The users of LiveKit's API are real ones: its server SDK for Node in a process of
// its own, its client and hls.js in Chromium. They are installed once a run.

var livekitUsers = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(ground, "livekit-users")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "livekit-users"))); err != nil {
		return "", err
	}
	// What somebody installed by hand is not what the lock says.
	for _, left := range []string{"node_modules", "bundle"} {
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"ci", "--no-audit", "--no-fund", "--prefer-offline"}, {"run", "build"}} {
		cmd := exec.Command("npm", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm %s: %w\n%s", args[0], err, out)
		}
	}
	return dir, nil
})

func usersDir(t testing.TB) string {
	t.Helper()
	dir, err := livekitUsers()
	require.NoError(t, err)
	return dir
}

// nodeUser is a program on LiveKit's server SDK for Node, with a webhook receiver.
type nodeUser struct {
	*command
	own  string // URL for the webhooks of jobs, with a secret
	said int    // answers given so far

	read     int // bytes of its output that were looked at
	lines    []nodeLine
	webhooks []webhook
}

// nodeLine is what driver.mjs says.
type nodeLine struct {
	Listening int
	Webhook   json.RawMessage
	Path      string
	Type      string
	Refused   string
	Answer    []json.RawMessage
	Error     *nodeError
}

// nodeError is what the SDK threw.
type nodeError struct {
	Code    any // Twirp's, or a number of the platform's
	Message string
	Status  int
}

// webhook is one that the SDK's receiver verified.
type webhook struct {
	*livekit.WebhookEvent
	path, contentType string
}

// nodeCall is a line for driver.mjs.
type nodeCall struct {
	Call     string         `json:"call"`
	Room     string         `json:"room,omitempty"`
	URL      string         `json:"url,omitempty"`
	Outputs  map[string]any `json:"outputs,omitempty"`
	Options  map[string]any `json:"options,omitempty"`
	EgressID string         `json:"egressId,omitempty"`
	Layout   string         `json:"layout,omitempty"`
	Add      []string       `json:"add,omitempty"`
	Remove   []string       `json:"remove,omitempty"`
	RoomName string         `json:"roomName,omitempty"`
	Active   bool           `json:"active,omitempty"`
}

// hookPort finds a free port: servers want a receiver's URL before it is up.
func hookPort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(recordertest.FreeAddr(t))
	require.NoError(t, err)
	return port
}

// Where a receiver takes what a configuration has it told, and what a job does.
const hooksPath, ownPath = "/hooks", "/own"

func hookURL(port string) string { return "http://127.0.0.1:" + port + hooksPath }

// startNode starts the program against a server's API; its receiver listens on port.
func (h *home) startNode(s *roomServer, host, port string) *nodeUser {
	h.t.Helper()
	driver := filepath.Join(usersDir(h.t), "driver.mjs")
	n := &nodeUser{own: "http://127.0.0.1:" + port + ownPath + "?token=" + secret}
	n.command = h.startProgram([]string{"HOST=" + host, "API_KEY=" + s.APIKey, "API_SECRET=" + s.APISecret, "PORT=" + port}, "node", driver)
	n.await(n.stdout, `"listening":`+port, 20*time.Second)
	n.take()
	return n
}

// take reads what the program has said since.
func (n *nodeUser) take() (changed <-chan struct{}) {
	n.h.t.Helper()
	text, changed := n.stdout.Look()
	for {
		line, _, whole := strings.Cut(text[n.read:], "\n")
		if !whole {
			return changed
		}
		n.read += len(line) + 1
		var said nodeLine
		require.NoError(n.h.t, json.Unmarshal([]byte(line), &said), line)
		require.Empty(n.h.t, said.Refused, "its WebhookReceiver refuses what came to %s", said.Path)
		switch {
		case said.Webhook != nil:
			event := &livekit.WebhookEvent{}
			require.NoError(n.h.t, protojson.Unmarshal(said.Webhook, event), line)
			n.webhooks = append(n.webhooks, webhook{event, said.Path, said.Type})
		case said.Listening == 0:
			n.lines = append(n.lines, said)
		}
	}
}

// until waits for what the program says to satisfy done.
func (n *nodeUser) until(what string, limit time.Duration, done func() bool) {
	n.h.t.Helper()
	deadline := time.After(limit)
	for {
		changed := n.take()
		if done() {
			return
		}
		select {
		case <-changed:
		case <-n.done:
			require.FailNow(n.h.t, "it ended", "%s\n%s", n, lastLines(n.stderr.String(), 30))
		case <-deadline:
			var got []string
			for _, w := range n.webhooks {
				got = append(got, w.Event+" "+w.GetEgressInfo().GetStatus().String())
			}
			require.FailNow(n.h.t, "it does not come", "%s within %s; webhooks: %q", what, limit, got)
		}
	}
}

// callTimeout is longer than LiveKit's server gives an egress service to answer.
const callTimeout = 20 * time.Second

// try makes a call, and gives its answer or its error.
func (n *nodeUser) try(c nodeCall) ([]*livekit.EgressInfo, *nodeError) {
	n.h.t.Helper()
	text, err := json.Marshal(c)
	require.NoError(n.h.t, err)
	_, err = n.stdin.Write(append(text, '\n'))
	require.NoError(n.h.t, err)
	n.until("an answer to "+c.Call, callTimeout, func() bool { return len(n.lines) > n.said })
	line := n.lines[n.said]
	n.said++
	var infos []*livekit.EgressInfo
	for _, answer := range line.Answer {
		info := &livekit.EgressInfo{}
		require.NoError(n.h.t, protojson.Unmarshal(answer, info), "%s", answer)
		infos = append(infos, info)
	}
	return infos, line.Error
}

// call makes a call that must succeed.
func (n *nodeUser) call(c nodeCall) []*livekit.EgressInfo {
	n.h.t.Helper()
	infos, failed := n.try(c)
	require.Nil(n.h.t, failed, "%s: %+v", c.Call, failed)
	return infos
}

// one makes a call that answers with one egress.
func (n *nodeUser) one(c nodeCall) *livekit.EgressInfo {
	n.h.t.Helper()
	infos := n.call(c)
	require.Len(n.h.t, infos, 1, c.Call)
	return infos[0]
}

// of gives the webhooks of one egress that came to a path, in their order.
func (n *nodeUser) of(id, path string) (list []webhook) {
	for _, w := range n.webhooks {
		if w.GetEgressInfo().GetEgressId() == id && strings.HasPrefix(w.path, path) {
			list = append(list, w)
		}
	}
	return list
}

// requireEnded waits for the webhook of an egress's end, also where a takeover or a
// restart may have had some told twice.
func (n *nodeUser) requireEnded(id, path string) []webhook {
	n.h.t.Helper()
	n.until("egress_ended of "+id+" at "+path, forever, func() bool {
		list := n.of(id, path)
		return len(list) > 0 && list[len(list)-1].Event == "egress_ended"
	})
	return n.of(id, path)
}

// requireWebhooks waits for the end of one egress to arrive at a path, and checks all
// that came: in their order, each once.
func (n *nodeUser) requireWebhooks(id, path string, status livekit.EgressStatus) []webhook {
	n.h.t.Helper()
	list := n.requireEnded(id, path)
	seen := map[string]bool{}
	for i, w := range list {
		assert.Equal(n.h.t, i == 0, w.Event == "egress_started", "%d: %s", i, w.Event)
		assert.Equal(n.h.t, i == len(list)-1, w.Event == "egress_ended", "%d: %s", i, w.Event)
		assert.Equal(n.h.t, "application/webhook+json", w.contentType)
		assert.NotEmpty(n.h.t, w.Id)
		assert.False(n.h.t, seen[w.Id], "%s came twice", w.Id)
		assert.InDelta(n.h.t, time.Now().Unix(), w.CreatedAt, 120)
		seen[w.Id] = true
	}
	assert.Greater(n.h.t, len(list), 2, "and what was between")
	assert.Equal(n.h.t, status, list[len(list)-1].EgressInfo.Status)
	return list
}
