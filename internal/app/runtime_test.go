package app

import (
	"math"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/usherhq/usher/config"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	none := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	for name, test := range map[string]struct {
		held      int
		container memlimit.Provider
		want      uint64
	}{
		"no container":    {32 << 20, none, 112 << 20},
		"large container": {32 << 20, memlimit.Limit(1 << 30), 112 << 20},
		"small container": {32 << 20, memlimit.Limit(100_000_000), 90_000_000},
		"much is held":    {256 << 20, none, 336 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := memoryLimit(test.held, test.container); got != test.want {
				t.Errorf("limit %d, want %d", got, test.want)
			}
		})
	}
}

// keepMemory restores the process's settings behind the test.
func keepMemory(t *testing.T) {
	t.Helper()
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
}

func TestTuneMemory(t *testing.T) {
	cfg := &config.Config{PubSub: config.PubSub{MaxBytes: 32 << 20}}
	t.Run("by default", func(t *testing.T) {
		keepMemory(t)
		if err := TuneMemory(cfg); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetMemoryLimit(-1); got > 112<<20 {
			t.Errorf("memory limit %d", got)
		}
		if got := debug.SetGCPercent(100); got != gcPercent {
			t.Errorf("GC percent %d", got)
		}
	})
	t.Run("as the environment says", func(t *testing.T) {
		keepMemory(t)
		t.Setenv("GOMEMLIMIT", "1GiB") // as the runtime read it at the start
		debug.SetMemoryLimit(1 << 30)
		debug.SetGCPercent(50)
		if err := TuneMemory(cfg); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetMemoryLimit(-1); got != 1<<30 {
			t.Errorf("memory limit %d", got)
		}
		if got := debug.SetGCPercent(100); got != 50 {
			t.Errorf("GC percent %d", got)
		}
	})
	t.Run("bad share", func(t *testing.T) {
		keepMemory(t)
		t.Setenv("AUTOMEMLIMIT", "much")
		if err := TuneMemory(cfg); err == nil || !strings.Contains(err.Error(), "memory limit") {
			t.Errorf("error %v", err)
		}
	})
}
