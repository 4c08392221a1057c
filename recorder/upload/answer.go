package upload

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// answerOf is a storage's refusal as every SDK knows it, in its own words.
type answerOf struct {
	what          string // the object, without secrets
	status        int    // 0 is no answer
	code, message string
	rights        string // what mends a lack of rights
	taken         bool   // another object has the name
	corrupt       bool   // the sums differ
}

// fault classifies. The SDKs' own texts are left out: they quote requests.
func (a answerOf) fault(ctx context.Context, err error) *fault {
	switch {
	case ctx.Err() != nil:
		return &fault{class: passing, text: a.what + ": interrupted", cause: context.Cause(ctx)}
	case a.taken:
		return &fault{class: passing, text: a.what + ": " + errTaken.Error(), cause: errTaken}
	case a.status == 0:
		return netFault(a.what, err)
	}
	f := &fault{class: httpClass(a.status, denied), text: fmt.Sprintf("%s: %d %s", a.what, a.status, http.StatusText(a.status)), cause: err}
	if a.code != "" {
		f.text += " (" + clip(a.code) + ")"
	}
	if a.message != "" {
		f.text += ": " + clip(a.message)
	}
	switch {
	case a.corrupt:
		f.class, f.remedy = corrupt, "the bytes were changed on their way"
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		f.remedy = a.rights
	case a.status == http.StatusNotFound:
		f.remedy = "create the bucket or container, or correct its name"
	}
	return f
}

// objectURL is the URL of an object, as LiveKit writes it.
func objectURL(host, path string) string {
	return (&url.URL{Scheme: "https", Host: host, Path: path}).String()
}
