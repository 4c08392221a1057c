package faults

import (
	"context"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// link is the network between one node and one server.
type link struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

func newLink(t testing.TB, name, upstream string) *link {
	t.Helper()
	l := &link{t, toxiproxy.NewProxy(toxics, name, recordertest.FreeAddr(t), upstream)}
	require.NoError(t, l.proxy.Start())
	t.Cleanup(l.proxy.Stop)
	return l
}

// addr is host:port of the server as the node knows it.
func (l *link) addr() string { return l.proxy.Listen }

// cut loses everything in both directions, as a network does whose cable is out:
// connections stay open, nothing is refused.
func (l *link) cut() {
	l.t.Helper()
	l.add(`{"name":"up","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`)
	l.add(`{"name":"down","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
}

// slow lets so many kB a second pass to the server.
func (l *link) slow(rate string) {
	l.t.Helper()
	l.add(`{"name":"up","type":"bandwidth","stream":"upstream","attributes":{"rate":` + rate + `}}`)
}

func (l *link) add(toxic string) {
	l.t.Helper()
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	require.NoError(l.t, err)
}

// heal makes the link whole again. Connections that it silenced are closed.
func (l *link) heal() {
	l.proxy.Toxics.ResetToxics(context.Background())
}

// refuse closes every connection and takes none; accept takes them again.
func (l *link) refuse() { l.proxy.Stop() }

func (l *link) accept() { l.t.Helper(); require.NoError(l.t, l.proxy.Start()) }
