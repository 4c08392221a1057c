package egress

import (
	"context"
	"slices"

	"github.com/livekit/protocol/rpc"

	"tapedeck/recorder"
)

// The affinities. A server takes the first that is affinityHere, and otherwise the
// highest of those that came in time.
const (
	affinityNone = -1  // another one, please
	affinityHere = 1   // this room is being recorded here
	affinityIdle = 0.5 // nothing runs here
	// affinityLast is for what is refused wherever it goes: a service that can do more
	// than Tapedeck answers with more. If none does, the client hears why.
	affinityLast = 0.001
	// affinityLeast is what a worker with a slot says, however busy its machine is.
	affinityLeast = 0.01

	// busy is the load of a machine that should not get a second job of a room just
	// because it has the first.
	busy = 0.9
)

// StartEgressAffinity tells how well a request would be served here: between
// affinityLeast and affinityIdle by what is free of the slots and of the CPU.
func (b internalAPI) StartEgressAffinity(_ context.Context, req *rpc.StartEgressRequest) (offer float32) {
	defer func() { // no interceptor is around this
		if p := recover(); p != nil {
			logPanic(b.Log, "StartEgressAffinity", p)
			offer = affinityNone
		}
	}()
	load := b.Worker.Load()
	if load.Draining || load.Unfit {
		return affinityNone
	}
	job, err := b.job(req)
	if err != nil {
		return affinityLast
	}
	return affinity(load, b.CPU(), job.RoomName)
}

func affinity(load recorder.Load, cpu float64, room string) float32 {
	free := load.Slots - load.Running
	cpu = min(max(cpu, 0), 1)
	switch {
	case free <= 0:
		return affinityNone
	case room != "" && cpu < busy && slices.Contains(load.Rooms, room):
		return affinityHere
	}
	return float32(max(affinityLeast, affinityIdle*float64(free)/float64(load.Slots)*(1-cpu)))
}
