package queue

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// Each script says in its first lines what its KEYS, ARGV and answer are.
var (
	//go:embed scripts/prelude.lua
	preludeLua string
	//go:embed scripts/enqueue.lua
	enqueueLua string
	//go:embed scripts/place.lua
	placeLua string
	//go:embed scripts/expired.lua
	expiredLua string
	//go:embed scripts/take.lua
	takeLua string
	//go:embed scripts/renew.lua
	renewLua string
	//go:embed scripts/restore.lua
	restoreLua string
	//go:embed scripts/report.lua
	reportLua string
	//go:embed scripts/note.lua
	noteLua string
	//go:embed scripts/finish.lua
	finishLua string
	//go:embed scripts/release.lua
	releaseLua string
	//go:embed scripts/bury.lua
	buryLua string
	//go:embed scripts/amend.lua
	amendLua string
	//go:embed scripts/command.lua
	commandLua string
	//go:embed scripts/beat.lua
	beatLua string
	//go:embed scripts/sweep.lua
	sweepLua string
	//go:embed scripts/collect.lua
	collectLua string
	//go:embed scripts/deliver.lua
	deliverLua string
	//go:embed scripts/settle.lua
	settleLua string
	//go:embed scripts/strand.lua
	strandLua string
)

type scripts struct {
	enqueue, place, expired, take, renew, restore, report, note, finish,
	release, bury, amend, command, beat, sweep, collect, deliver, settle, strand *redis.Script
}

func newScripts() scripts {
	load := func(src string) *redis.Script { return redis.NewScript(preludeLua + "\n" + src) }
	return scripts{
		enqueue: load(enqueueLua), place: load(placeLua), expired: load(expiredLua), take: load(takeLua), renew: load(renewLua),
		restore: load(restoreLua), report: load(reportLua), note: load(noteLua), finish: load(finishLua), release: load(releaseLua),
		bury: load(buryLua), amend: load(amendLua), command: load(commandLua), beat: load(beatLua), sweep: load(sweepLua),
		collect: load(collectLua), deliver: load(deliverLua), settle: load(settleLua),
		strand: load(strandLua),
	}
}

// verdict reads the answer of a script that says {'word', value…} or 'word'.
func verdict(answer any) (word string, value any) {
	switch a := answer.(type) {
	case string:
		return a, nil
	case []any:
		if len(a) == 0 {
			return "", nil
		}
		word, _ = a[0].(string)
		if len(a) > 1 {
			value = a[1]
		}
	}
	return word, value
}
