package app

import (
	"fmt"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/usherhq/usher/config"
)

const (
	// gcPercent lets the heap grow to five times what is in use before it is collected: that is little, and most of what a
	// message takes is garbage when it is stored.
	gcPercent = 400
	// workingMemory is what the daemon may take besides the messages that it holds.
	workingMemory = 80 << 20
)

// TuneMemory has this process collect its garbage seldom while memory is plentiful and often before it is not: it may take
// 80 MiB and pubsub.max_bytes, but no more than 90 % of its container's limit. GOMEMLIMIT, and a GOGC other than 100, are
// left as they are. The error is that of a bad AUTOMEMLIMIT, the share of the bound that is used, or "off".
func TuneMemory(cfg *config.Config) error {
	if was := debug.SetGCPercent(gcPercent); was != 100 {
		debug.SetGCPercent(was)
	}
	_, err := memlimit.Set(memlimit.WithRatio(1), memlimit.WithProvider(func() (uint64, error) {
		return memoryLimit(cfg.PubSub.MaxBytes, memlimit.FromCgroup), nil
	}))
	if err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	return nil
}

// memoryLimit is the bound for a process that holds so many bytes of messages.
func memoryLimit(held int, container memlimit.Provider) uint64 {
	limit := uint64(workingMemory + held)
	if c, err := container(); err == nil { // else there is none
		limit = min(limit, c/10*9)
	}
	return limit
}
