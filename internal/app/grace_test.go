package app

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestGraceCountsFromTheSignal: what receiving takes to end is part of the grace, not before it.
func TestGraceCountsFromTheSignal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newGrace(ctx, 7*time.Second)
		time.Sleep(time.Hour)
		if left := time.Until(g.end()); left != 7*time.Second {
			t.Errorf("before the signal %v are left, want 7s", left)
		}
		cancel()
		synctest.Wait()
		time.Sleep(5 * time.Second)
		if left := time.Until(g.end()); left != 2*time.Second {
			t.Errorf("5s after the signal %v are left, want 2s", left)
		}
	})
}
