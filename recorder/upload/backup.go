package upload

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"
)

// refusals is how often a storage with a backup behind it may refuse a file: a
// gateway's hiccup may look like a refusal, and somebody may be mending it, but
// the backup is there for those who do not want to wait.
const refusals = 3

// turnsToBackup decides when a storage is given up for the backup: it refuses,
// or has failed for so long.
func turnsToBackup(c class, tries int, failing, after time.Duration) bool {
	return (c != passing && tries >= refusals) || failing >= after
}

func (d *delivery) turns(j *journal, c class, tries int, failing time.Duration) bool {
	return !j.Backup && j.Placed == nil && d.route.hasBackup() && turnsToBackup(c, tries, failing, d.entry.spool.opts.BackupAfter)
}

// turn leaves the own storage for the backup, once and for this file's good.
func (d *delivery) turn(ctx context.Context, j *journal) {
	d.log.Warn("the storage is given up: the backup takes the file", zap.String("error", d.file.Error))
	bounded, cancel := context.WithTimeout(ctx, courtesy)
	defer cancel()
	if st, err := d.route.open(bounded, d.entry.spool.opts, false); err == nil && j.Target == st.target() {
		var left progress
		j.look(func(p progress) { left = p })
		st.discard(bounded, left)
	}
	j.update(func(p *progress) { *p = progress{Backup: true, Why: whyBackup(d.file.Error)} })
}

func whyBackup(said string) string { return "the backup storage was used: " + said }

// joinNotes keeps what is there.
func joinNotes(notes ...string) string {
	var there []string
	for _, n := range notes {
		if n != "" {
			there = append(there, n)
		}
	}
	return strings.Join(there, "; ")
}
