package pipeline

import (
	"net/url"

	"tapedeck/recorder"
)

// srtLaunch sends MPEG-TS, seven packets a datagram as everybody does. The stream's
// own goroutine reconnects: srtsink would begin in the middle of a picture.
const srtLaunch = "mpegtsmux name=mux alignment=7" +
	" ! srtsink name=sink mode=caller auto-reconnect=false wait-for-connection=true sync=false async=false"

// srtPad turns what the encoders give, which is what MP4 and FLV want, to what
// MPEG-TS wants: parameter sets with every key frame.
func srtPad(c codec) string {
	if c.video() {
		return "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au ! mux."
	}
	return "aacparse ! mux." // raw frames are framed, which the encoder's caps do not say
}

// srtIngest is an SRT listener in srtsink's terms.
type srtIngest struct {
	base                 string // srt://host:port, with what is no text
	streamID, passphrase string
}

// parseSRT takes what a caller may say. The rest of the query is left out, so that
// no URL makes this machine listen.
func parseSRT(u *url.URL) (srtIngest, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Hostname() == "" || u.Port() == "" {
		return srtIngest{}, recorder.Errorf(recorder.CodeInvalid, "%s is no SRT URL: write it as srt://host:port?streamid=key",
			recorder.RedactStreamURL(u.String()))
	}
	numbers := url.Values{}
	for _, name := range []string{"pbkeylen", "latency"} { // bytes, ms
		if query.Has(name) {
			numbers.Set(name, query.Get(name))
		}
	}
	base := url.URL{Scheme: "srt", Host: u.Host, RawQuery: numbers.Encode()}
	return srtIngest{base: base.String(), streamID: query.Get("streamid"), passphrase: query.Get("passphrase")}, nil
}

// address points the sink at the listener. The URI comes first, for it resets the rest.
func (in srtIngest) address() [][2]string {
	return given([][2]string{
		{"uri", in.base},
		{"streamid", in.streamID},
		{"passphrase", in.passphrase},
	})
}
