package protocol

// most is how many workers a model may have.
const most = 3

// The statuses of the job.
const (
	queued uint8 = iota
	starting
	active
	ending
	ended
)

// The roles of a worker.
const (
	idle       uint8 = iota
	recording        // it has a lease and writes media
	delivering       // it has a lease and a file that does not grow any more
	rescuing         // it has a lease on what another worker recorded
	returned         // it began anew and found its spool
	orphaned         // it has a file, and the job is not its own
)

// What has become of a worker's process.
const (
	up uint8 = iota
	down
	gone // with its disk, for ever
)

// The bytes of the upload's first part.
const (
	none  uint8 = iota
	grown       // of a file that grows: a player plays what follows
	final       // of a file that is whole: a player needs all of it
)

// upload is a multipart upload, as S3 has it.
type upload struct {
	open, done    bool
	elsewhere     bool // to a numbered name of its worker's own
	first         uint8
	second, third bool
}

// object is what lies under a key.
type object struct {
	of            uint8 // worker that recorded it, from 1; 0 for nothing
	first         uint8
	second, third bool
}

// plays reports whether it is the beginning of one file, or a whole one.
func (o object) plays() bool {
	switch o.first {
	case grown:
		return o.second || !o.third
	case final:
		return o.second && o.third
	default:
		return false
	}
}

// notes is what a lease noted of its upload.
type notes struct {
	upload uint8 // from 1
	first  uint8
}

// redis is what Redis has of the job.
type redis struct {
	status uint8
	owner  uint8 // from 1; 0 is nobody
	fence  uint8
	lapsed bool
	by     uint8 // who recorded what the state tells of, from 1
	notes  notes
	ends   uint8 // recording_ended events
	told   bool  // the result says that a file is delivered
	armed  bool  // somebody saw it lapsed, and the revision is still that one
}

// worker is one process and its spool.
type worker struct {
	process uint8
	role    uint8
	fence   uint8 // of its lease, 0 for none

	// What its spool has.
	media                   uint8 // parts that are closed; 3 is a finalised file
	cut                     bool  // it was cut off and is never finalised
	upload                  bool  // it has an upload, of its own number
	first                   uint8 // what was sent, as its journal says
	second, third           bool
	fenced                  bool // its upload is gone: somebody else completed it
	delivered               bool
	late                    bool  // a delivered file waits for the job's end
	target                  uint8 // upload that a rescuer read of in the notes, from 1
	listed                  bool  // it has a list of its parts
	listFirst               uint8
	listSecond, listThird   bool
	rescued, nothingToBring bool
}

// state is one state of everything. It is a key of maps.
type state struct {
	redis redis
	older redis // what Redis falls back to when it loses its memory

	uploads [most]upload
	key     object       // under the file's name
	other   [most]object // the last under a numbered name of each worker's
	workers [most]worker

	// What is left of the faults that a run may have.
	crashes, lapses, lostAnswers, losses, saves, claims uint8

	excused  bool // what lies in S3 may be left there: a reaper cannot rescue, and a Redis may forget
	violated violation
}

// violation says what must never be.
type violation uint8

const (
	fine violation = iota
	twiceCompleted
	halves
	overwritten
	twiceEnded
	oldObeyed
	endedOnLiving
	freedUndelivered
	takenFromLiving
	inPart
)

func (v violation) String() string {
	return [...]string{
		"nothing", "an upload was completed twice", "an object is half of one file and half of another",
		"an object was overwritten", "the job ended twice", "an old owner was obeyed",
		"a job was ended on an owner that lives", "a spool was freed before its file was delivered", "a job was taken from an owner whose lease had not lapsed",
		"a file that is whole was delivered in part",
	}[v]
}
