package recordertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// GCS is a Google Cloud Storage emulator (fake-gcs-server) on a free loopback
// port, in memory. It checks no credentials. It ends with the test.
type GCS struct {
	// URL is what the SDK's STORAGE_EMULATOR_HOST takes; Bucket exists.
	URL, Bucket string
	t           testing.TB
}

// StartGCS builds the server once per checkout when `make tools` has not, starts
// it and makes a bucket. It returns when the server answers.
func StartGCS(t testing.TB) *GCS {
	t.Helper()
	addr := FreeAddr(t)
	g := &GCS{URL: "http://" + addr, Bucket: "recordings", t: t}
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	cmd := exec.CommandContext(context.Background(), tool(t, "fake-gcs-server", "github.com/fsouza/fake-gcs-server"),
		"-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory", "-external-url", g.URL, "-log-level", "error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		resp, err := http.Post(g.URL+"/storage/v1/b?project=test", "application/json", strings.NewReader(`{"name": "`+g.Bucket+`"}`))
		if err == nil {
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
			return g
		}
		if time.Now().After(deadline) {
			require.FailNow(t, "the storage emulator does not answer", "%v\n%s", err, said.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Get downloads an object; nil when there is none.
func (g *GCS) Get(name string) []byte {
	g.t.Helper()
	resp, err := http.Get(g.URL + "/storage/v1/b/" + g.Bucket + "/o/" + url.PathEscape(name) + "?alt=media")
	require.NoError(g.t, err)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil
	}
	require.Equal(g.t, http.StatusOK, resp.StatusCode)
	data, err := io.ReadAll(resp.Body)
	require.NoError(g.t, err)
	return data
}

// Put stores an object, in place of another one.
func (g *GCS) Put(name string, data []byte) {
	g.t.Helper()
	resp, err := http.Post(g.URL+"/upload/storage/v1/b/"+g.Bucket+"/o?uploadType=media&name="+url.QueryEscape(name), "video/mp4", bytes.NewReader(data))
	require.NoError(g.t, err)
	require.NoError(g.t, resp.Body.Close())
	require.Equal(g.t, http.StatusOK, resp.StatusCode)
}

// Names lists the bucket.
func (g *GCS) Names() []string {
	g.t.Helper()
	resp, err := http.Get(g.URL + "/storage/v1/b/" + g.Bucket + "/o")
	require.NoError(g.t, err)
	defer resp.Body.Close()
	var list struct {
		Items []struct {
			Name string `json:"name"`
		} `json:"items"`
	}
	require.NoError(g.t, json.NewDecoder(resp.Body).Decode(&list))
	var names []string
	for _, o := range list.Items {
		names = append(names, o.Name)
	}
	return names
}
