package queue

import "tapedeck/recorder"

var _ recorder.Heir = (*lease)(nil)

// Predecessor tells whose job this was before; "" for nobody's.
func (l *lease) Predecessor() string { return l.previous.Worker }
