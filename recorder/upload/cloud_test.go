package upload_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// objects is what the played storages let a test see.
type objects interface {
	Get(name string) []byte
	Put(name string, data []byte)
	Names() []string
}

// deliverTo brings files, large and small, and a series to a storage, among
// objects of others.
func deliverTo(t *testing.T, opts upload.Options, to recorder.Storage, there objects, at string) {
	t.Helper()
	d := newDeck(t, opts)
	for name, size := range map[string]int{"talks/small {1}.mp4": 1000, "talks/in parts.mp4": 17 * mib} {
		data := noise(uint64(size), size)
		e := d.entry(one("job", recorder.FileOutput{Filepath: name, Storage: to}), data)
		rec := deliver(t, e)
		requireDelivered(t, rec)
		require.Equal(t, name, rec.Files[0].Filename)
		require.Equal(t, data, there.Get(name))
		require.NotEmpty(t, there.Get(name+".json"))
		require.NoError(t, e.Free())

		there.Put(name, []byte("another's"))
		rec = deliver(t, d.entry(one("job2", recorder.FileOutput{Filepath: name, Storage: to}), data))
		requireDelivered(t, rec)
		require.NotEqual(t, name, rec.Files[0].Filename)
		require.Equal(t, "another's", string(there.Get(name)))
		require.Equal(t, data, there.Get(rec.Files[0].Filename))
	}
	hls, studio := d.hls(hlsJob("hls", to))
	stop := follow(t, hls)
	for range 3 {
		studio.segment(1000)
	}
	eventually(t, func() bool { return len(listed(string(there.Get(mainList)))) == 3 })
	studio.end()
	stop()
	out := hls.Deliver(t.Context(), hls.Task().Recording, nil).Segments[0]
	requireSeries(t, out.Series)
	require.Equal(t, at+"/talk/all.m3u8", out.PlaylistLocation)
	require.Contains(t, string(there.Get(mainList)), "ENDLIST")
	rescuedFrom(t, d, hls, to, out, there)
}

// refusedBy tells what a storage says to these keys.
func refusedBy(t *testing.T, opts upload.Options, to recorder.Storage, secrets ...string) string {
	t.Helper()
	opts.GiveUpAfter = 50 * time.Millisecond
	d := newDeck(t, opts)
	e := d.entry(one("job", recorder.FileOutput{Storage: to}), noise(1, 1000))
	rec := deliver(t, e)
	require.Equal(t, recorder.FileRefused, rec.Files[0].State)
	require.FileExists(t, media(e))
	d.requireNoSecret(rec, secrets...)
	return rec.Files[0].Error
}

func TestAzure(t *testing.T) {
	a := recordertest.StartAzure(t)
	opts := upload.Options{HTTPClient: a.Client()}
	deliverTo(t, opts, recorder.Storage{Azure: a.Upload()}, a, "https://tapedecktest.blob.core.windows.net/recordings")

	wrong := a.Upload()
	wrong.AccountKey = "d3Jvbmcga2V5IG9mIGF6dXJl"
	require.Contains(t, refusedBy(t, opts, recorder.Storage{Azure: wrong}, wrong.AccountKey), "check account_name and account_key")
	none := a.Upload()
	none.ContainerName = "nobody-made-it"
	require.Contains(t, refusedBy(t, opts, recorder.Storage{Azure: none}, a.Key), "create the bucket or container")
}

func TestAliOSS(t *testing.T) {
	o := recordertest.StartOSS(t)
	opts := upload.Options{}
	deliverTo(t, opts, recorder.Storage{AliOSS: o.Upload()}, o, "https://recordings."+o.Endpoint[len("http://"):])

	wrong := o.Upload()
	wrong.Secret = "wr0ng-oss-s3cr3t"
	require.Contains(t, refusedBy(t, opts, recorder.Storage{AliOSS: wrong}, wrong.Secret, o.AccessKey), "check access_key and secret")
	names := o.Names()
	require.NoError(t, upload.Check(t.Context(), upload.Storage{AliOSS: o.Upload(), Prefix: "p"}))
	require.Equal(t, names, o.Names(), "the test file is removed")
}

// A connection on which nothing moves ends, whoever's SDK it is that waits.
func TestAliOSSStall(t *testing.T) {
	o := recordertest.StartOSS(t)
	p := recordertest.StartS3Proxy(t, o.Endpoint)
	p.Fault(func(int, *http.Request) recordertest.S3Fault { return recordertest.S3Fault{Stall: true} })
	d := newDeck(t, upload.Options{Stall: 200 * time.Millisecond})
	u := o.Upload()
	u.Endpoint = p.URL
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{AliOSS: u}}), noise(1, 1000))
	rec := e.Deliver(t.Context(), e.Task().Recording, func(r recorder.Recording) {
		if f := r.Files[0]; f.State == recorder.FilePending {
			require.Contains(t, f.Error, "nothing moves")
			p.Fault(nil)
		}
	})
	requireDelivered(t, rec)
}
