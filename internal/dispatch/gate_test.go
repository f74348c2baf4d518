package dispatch_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/queue"
)

// outage is a store that is away for a while, seen through a committer and a probe.
type outage struct {
	away   atomic.Bool
	code   code.Code
	tries  atomic.Int64
	probes atomic.Int64
}

func (o *outage) err() error {
	if o.away.Load() {
		return code.New(o.code, "store", nil)
	}
	return nil
}

func (o *outage) set(opts *dispatch.Options) {
	opts.Committer = committerFunc(func(context.Context, *commit.Item) error {
		o.tries.Add(1)
		return o.err()
	})
	opts.Probe = func(context.Context) error {
		o.probes.Add(1)
		return o.err()
	}
}

// handling is messages being handled.
type handling struct {
	wg   sync.WaitGroup
	done [2]atomic.Int64 // by disposition
}

func (h *handling) start(ctx context.Context, t *testing.T, b *bench, n int) {
	t.Helper()
	for range n {
		m := good(t)
		h.wg.Go(func() { h.done[b.Handle(ctx, m)].Add(1) })
	}
	synctest.Wait()
}

func (h *handling) check(t *testing.T, acked, nacked int64) {
	t.Helper()
	if a, n := h.done[queue.Ack].Load(), h.done[queue.Nack].Load(); a != acked || n != nacked {
		t.Errorf("%d acked and %d nacked, want %d and %d", a, n, acked, nacked)
	}
}

func TestOutageHoldsMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []code.Code{code.Unavailable, code.Internal, code.Denied, code.NotFound} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := &outage{code: c}
				b := setup(t, nil, o.set)
				o.away.Store(true)
				var h handling
				h.start(t.Context(), t, b, 20)
				if b.Ready() {
					t.Error("ready during an outage")
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				h.check(t, 0, 0)
				if n := o.tries.Load(); n < 1 || n > 20 {
					t.Errorf("%d tries during the outage, want at most one of each message", n)
				}
				if n := o.probes.Load(); n < 25 || n > 40 { // one goroutine, about every second
					t.Errorf("%d probes in 30 s", n)
				}
				o.away.Store(false)
				start := time.Now()
				h.wg.Wait()
				if took := time.Since(start); took > time.Second {
					t.Errorf("resumed %v after recovery, want within the probe interval", took)
				}
				h.check(t, 20, 0)
				if !b.Ready() || len(b.letters.sent) != 0 || b.Stats()["stored"] != 20 {
					t.Errorf("ready %v, %d parked, stats %v", b.Ready(), len(b.letters.sent), b.Stats())
				}
				if log := b.logs.String(); strings.Count(log, "gate closed") != 1 || strings.Count(log, "gate open again") != 1 {
					t.Errorf("log of the gate:\n%s", log)
				}
			})
		})
	}
}

func TestOutageOfTheDirectoryHoldsToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		b.tenants.err = code.New(code.Unavailable, "get", nil)
		var h handling
		h.start(t.Context(), t, b, 3)
		h.check(t, 0, 0)
		b.tenants.mu.Lock()
		b.tenants.err = nil
		b.tenants.mu.Unlock()
		h.wg.Wait()
		h.check(t, 3, 0)
	})
}

// TestGivesBackWhatItCannotHold: after MaxHold a message is nacked, not parked.
func TestGivesBackWhatItCannotHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{code: code.Unavailable}
		b := setup(t, nil, o.set)
		o.away.Store(true)
		var h handling
		start := time.Now()
		h.start(t.Context(), t, b, 5)
		h.wg.Wait()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("held for %v, want the minute of MaxHold", took)
		}
		h.check(t, 0, 5)
		if b.Ready() || len(b.letters.sent) != 0 {
			t.Errorf("ready %v, %d parked", b.Ready(), len(b.letters.sent))
		}
	})
}

// TestShutdownDuringAnOutage: messages at the gate are given back at once when receiving ends.
func TestShutdownDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{code: code.Unavailable}
		b := setup(t, nil, o.set)
		o.away.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		var h handling
		h.start(ctx, t, b, 5)
		start := time.Now()
		cancel()
		h.wg.Wait()
		h.check(t, 0, 5)
		b.Close()
		h.start(t.Context(), t, b, 1) // after Close nobody probes, and nothing hangs
		h.wg.Wait()
		if took := time.Since(start); took > 61*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestNobodySpinsAfterClose: what a shutdown left behind is given back after one try, not tried again without a pause.
func TestNobodySpinsAfterClose(t *testing.T) {
	t.Parallel()
	tries := 0
	b := setup(t, nil, func(o *dispatch.Options) {
		o.Committer = committerFunc(func(context.Context, *commit.Item) error {
			if tries++; tries == 10 {
				return nil // or a spinning handler would never end
			}
			return code.New(code.Unavailable, "commit", nil)
		})
	})
	b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d := b.Handle(ctx, good(t)); d != queue.Nack || tries != 1 {
		t.Errorf("disposition %v after %d tries, want nack after one", d, tries)
	}
}

// TestOneItemForAllTries: the committer knows its own record again after a lost answer by what it noted in the item.
func TestOneItemForAllTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var items []*commit.Item
		b := setup(t, nil, func(o *dispatch.Options) {
			o.Probe = func(context.Context) error { return nil }
			o.Committer = committerFunc(func(_ context.Context, it *commit.Item) error {
				if items = append(items, it); len(items) < 3 {
					return code.New(code.Unavailable, "commit", nil)
				}
				return nil
			})
		})
		if d := b.Handle(t.Context(), good(t)); d != queue.Ack {
			t.Fatalf("disposition %v, want ack", d)
		}
		if len(items) != 3 || items[0] != items[1] || items[1] != items[2] {
			t.Errorf("%d tries with items %p", len(items), items)
		}
	})
}

// TestProbeMayLie: while the probe succeeds and commits do not, messages are tried again at its pace.
func TestProbeMayLie(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{code: code.Unavailable}
		b := setup(t, nil, o.set, func(opts *dispatch.Options) { opts.Probe = func(context.Context) error { return nil } })
		o.away.Store(true)
		var h handling
		h.start(t.Context(), t, b, 1)
		h.wg.Wait()
		h.check(t, 0, 1)
		if n := o.tries.Load(); n > 700 {
			t.Errorf("%d tries within MaxHold", n)
		}
	})
}

// TestAckComesAfterTheCommit also when receiving ends meanwhile: what was begun is finished.
func TestAckComesAfterTheCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := setup(t, nil, func(o *dispatch.Options) {
			o.Committer = committerFunc(func(ctx context.Context, _ *commit.Item) error {
				<-release
				return ctx.Err()
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		var h handling
		h.start(ctx, t, b, 1)
		cancel()
		synctest.Wait()
		h.check(t, 0, 0)
		close(release)
		h.wg.Wait()
		h.check(t, 1, 0)
	})
}

func TestSlowProcessorIsTimedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil, func(o *dispatch.Options) { o.Registry = registry(t, sleeper{}) })
		b.tenants.known["t1"].Processors = append(b.tenants.known["t1"].Processors, bindingOf("sleeper"))
		start := time.Now()
		if got := b.Handle(t.Context(), good(t)); got != queue.Nack {
			t.Errorf("disposition %v", got)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want the timeout", took)
		}
		if !strings.Contains(b.logs.String(), "did not finish in time") {
			t.Errorf("log: %s", b.logs)
		}
	})
}

// sleeper waits for the end of its context.
type sleeper struct{}

func (sleeper) Register() processor.Registration {
	return processor.Registration{Name: "sleeper", Version: "1.0.0", Title: "Sleeper", Description: "Sleeps."}
}

func (sleeper) Configure(processor.Settings) (processor.Handler, error) {
	return processor.HandlerFunc(func(ctx context.Context, _ *visitor.Event) (processor.Result, error) {
		<-ctx.Done()
		return processor.Result{}, context.Cause(ctx)
	}), nil
}
