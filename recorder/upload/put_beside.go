package upload

import (
	"context"
	"errors"
	"io"
	"net/http"

	"go.uber.org/zap"
)

// ifVacant is the condition under which whatever has no right to its name any more is sent.
const ifVacant = "*"

// vacant looks whether something lies behind an URL whose server may not know conditions: it
// would replace it all the same. An URL that is signed for PUT tells no reader.
func (p *putStore) vacant(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url.String(), nil)
	if err != nil {
		return faultf(final, "%s: the URL cannot be used", p.shown)
	}
	req.Header.Set("User-Agent", "tapedeck")
	resp, err := p.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return netFault(p.shown, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return nil
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return p.occupied("something lies there already")
	case httpClass(resp.StatusCode, final) == passing && resp.StatusCode != http.StatusNotImplemented:
		return faultf(passing, "%s: %s", p.shown, resp.Status)
	default:
		return p.occupied("its server does not tell whether something lies there")
	}
}

// occupied is the fault of an orphan that must not be sent to its URL.
func (p *putStore) occupied(why string) *fault {
	return &fault{
		class: final, cause: errTaken,
		text:   p.shown + ": " + why + ", and the job is another worker's by now",
		remedy: "give the worker a storage of its own, and deliver with `tapedeck spool push`",
	}
}

// isOccupied reads the answer to a request with a condition.
func isOccupied(r *refusal) bool {
	return r.status == http.StatusPreconditionFailed || r.code == "BlobAlreadyExists" || // Azure's
		r.status == http.StatusNotImplemented || r.code == "NotImplemented"
}

// stepAside sends an orphan whose URL is another's to the worker's own storage, if there is one.
func (d *delivery) stepAside(j *journal, err error) bool {
	if !errors.Is(err, errTaken) || j.Backup || !d.takeAside() {
		return false
	}
	d.log.Warn("the upload URL is left to others: the worker's own storage takes the file", zap.String("error", d.file.Error))
	j.update(func(p *progress) {
		p.Aside, p.Why = true, "the worker's own storage was used: "+d.file.Error
	})
	return true
}

// takeAside makes the worker's own storage the way of an orphan that had an URL.
func (d *delivery) takeAside() bool {
	own := d.entry.spool.opts.Default
	if !d.rec.Orphan || d.route.uploadURL == "" || own == (Storage{}) {
		return false
	}
	d.route.uploadURL, d.route.own = "", own
	d.route = d.route.beside()
	return true
}
