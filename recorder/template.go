package recorder

import (
	"net/url"
	"strconv"
	"time"
)

// PageURL is the address a job's page is opened at. A room's template page gets
// url=, template=, layout= and token= added; the base URL's own query and
// fragment stay. pass stands in where the job names no server; its token is the
// job's own, or one that is good for longer. builtIn is where Tapedeck's own template is served, whose page is told more.
func PageURL(job Job, pass Pass, builtIn string) (string, error) {
	if job.URL != "" {
		return job.URL, nil
	}
	raw := job.CustomBaseURL
	if job.UsesBuiltIn() {
		raw = builtIn
	}
	base, err := url.Parse(raw)
	if err != nil {
		return "", Errorf(CodeInvalid, "custom_base_url is no valid URL")
	}
	if base.Host == "" {
		return "", Errorf(CodeInvalid, "custom_base_url: the built-in template is not served here: give the URL of a template page")
	}
	added := parameters(job, pass).Encode()
	// Appended, not merged: the order and the spelling of the base's own query are the owner's.
	if base.RawQuery != "" && added != "" {
		base.RawQuery += "&"
	}
	base.RawQuery += added
	return base.String(), nil
}

func parameters(job Job, pass Pass) url.Values {
	if job.LiveKitURL != "" {
		pass.URL = job.LiveKitURL
	}
	if pass.Token == "" { // whoever admits knows the job's, and may have a better one
		pass.Token = job.Token
	}
	all := map[string]string{"url": pass.URL, "template": job.LayoutName(), "layout": job.LayoutName(), "token": pass.Token}
	if job.UsesBuiltIn() {
		all["empty_timeout"] = inSeconds(job.Limits.Empty())
		all["identity"], all["audio_track_id"], all["video_track_id"] = job.Identity, job.AudioTrackID, job.VideoTrackID
		if job.ScreenShare != nil {
			all["screen_share"] = strconv.FormatBool(*job.ScreenShare)
		}
	}
	given := url.Values{}
	for name, value := range all {
		if value != "" {
			given.Set(name, value)
		}
	}
	return given
}

func inSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
