package recorder

import "net/url"

// PageURL is the address a job's page is opened at. A room's template page gets
// url=, template=, layout= and token= added; the base URL's own query and
// fragment stay. livekitURL stands in where the job names no server.
func PageURL(job Job, livekitURL string) (string, error) {
	if job.URL != "" {
		return job.URL, nil
	}
	base, err := url.Parse(job.CustomBaseURL)
	if err != nil {
		return "", Errorf(CodeInvalid, "custom_base_url is no valid URL")
	}
	if base.Host == "" {
		return "", Errorf(CodeInvalid, "custom_base_url: a room needs the URL of its template page")
	}
	if job.LiveKitURL != "" {
		livekitURL = job.LiveKitURL
	}
	added := url.Values{}
	for name, value := range map[string]string{
		"url": livekitURL, "template": job.LayoutName(), "layout": job.LayoutName(), "token": job.Token,
	} {
		if value != "" {
			added.Set(name, value)
		}
	}
	// Appended, not merged: the order and the spelling of the base's own query are the owner's.
	if base.RawQuery != "" && len(added) > 0 {
		base.RawQuery += "&"
	}
	base.RawQuery += added.Encode()
	return base.String(), nil
}
