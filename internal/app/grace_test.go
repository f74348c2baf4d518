package app

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/config"
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

// TestTimeoutsFitTheGrace adds up what a shutdown may take, as the daemon is wired: the slowest of its receivers,
// then the last metrics, then the clients. What is still queued behind other batches when its time is up comes again.
func TestTimeoutsFitTheGrace(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]config.Options{
		"default": {}, "GKE": {File: "../../config/testdata/gke.yaml"},
	} {
		cfg, err := config.Load(o)
		if err != nil {
			t.Fatal(err)
		}
		c := &cfg.Consumer
		message := c.ProcessorTimeout + c.BatchLinger + c.CommitTimeout + c.PublishTimeout
		slowest := time.Duration(0)
		for receiver, r := range map[string]struct{ waits, needs time.Duration }{
			"main lane":    {mainFlow(cfg).Shutdown, message},
			"overflow":     {overflowFlow(cfg).Shutdown, message},
			"dead letters": {lettersFlow(cfg).Shutdown, c.CommitTimeout},
		} {
			if r.waits < r.needs {
				t.Errorf("%s: %s waits %s for handlers that may take %s", name, receiver, r.waits, r.needs)
			}
			slowest = max(slowest, r.waits)
		}
		if sum := slowest + config.FlushTime + config.CloseTime; sum > c.ShutdownGrace {
			t.Errorf("%s: a shutdown takes up to %s, the grace is %s", name, sum, c.ShutdownGrace)
		}
		var budget time.Duration
		for _, p := range cfg.ShutdownBudget() {
			budget += p.Max
		}
		if budget != slowest+config.FlushTime+config.CloseTime {
			t.Errorf("%s: the configuration reckons with %s, the daemon with %s", name, budget, slowest+config.FlushTime+config.CloseTime)
		}
	}
}
