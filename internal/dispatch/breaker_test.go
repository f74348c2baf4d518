package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/tenant"
)

// slots is how many of a tenant's events are processed at a time below.
const slots = 10

// troubled is a bench whose tenants a and b share a processor that misbehaves for a. It counts a's calls.
type troubled struct {
	*bench
	do             atomic.Pointer[func() (processor.Result, error)] // for a
	calls, running atomic.Int64
	most           atomic.Int64 // running at a time
}

func newTroubled(t *testing.T, do func() (processor.Result, error)) *troubled {
	t.Helper()
	x := &troubled{}
	x.do.Store(&do)
	own := &custom{"own", func(ev *visitor.Event) (processor.Result, error) {
		if ev.TenantID == "b" {
			return processor.Result{Effects: []processor.Effect{processor.Record{}}}, nil
		}
		x.calls.Add(1)
		now := x.running.Add(1)
		defer x.running.Add(-1)
		for most := x.most.Load(); now > most && !x.most.CompareAndSwap(most, now); most = x.most.Load() {
		}
		return (*x.do.Load())()
	}}
	x.bench = setup(t, own, func(o *dispatch.Options) { o.TenantConcurrency = slots })
	for _, id := range []visitor.TenantID{"a", "b"} {
		x.tenants.known[id] = &tenant.Tenant{ID: id, Status: tenant.Active, Processors: []tenant.Binding{{Name: "own"}}}
	}
	return x
}

// does changes what the processor does.
func (x *troubled) does(do func() (processor.Result, error)) { x.do.Store(&do) }

// one handles an event of a tenant.
func (x *troubled) one(t *testing.T, id visitor.TenantID, n int) queue.Disposition {
	t.Helper()
	return x.Handle(t.Context(), message(t, event(visitor.EventID(fmt.Sprintf("evt_%s_%d", id, n)), id, fmt.Sprint("ada", n))))
}

// TestOneTenantsTroubleIsItsOwn: whatever a tenant's processor does, the other's events are stored as if nothing were, and
// what it keeps busy is bounded.
func TestOneTenantsTroubleIsItsOwn(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(release <-chan struct{}) (processor.Result, error){
		"hangs":  func(release <-chan struct{}) (processor.Result, error) { <-release; return processor.Result{}, nil },
		"panics": func(<-chan struct{}) (processor.Result, error) { panic("boom") },
		"fails":  func(<-chan struct{}) (processor.Result, error) { return processor.Result{}, errors.New("not now") },
		"slow": func(<-chan struct{}) (processor.Result, error) {
			time.Sleep(900 * time.Millisecond)
			return processor.Result{}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				x := newTroubled(t, func() (processor.Result, error) { return do(release) })
				const rounds, each = 50, 20 // 20 events a second of each tenant
				var all sync.WaitGroup
				var mu sync.Mutex
				var slowest time.Duration // of the other tenant
				for round := range rounds {
					for i := range each {
						all.Go(func() { x.one(t, "a", round*each+i) })
						all.Go(func() {
							start := time.Now()
							if d := x.one(t, "b", round*each+i); d != queue.Ack {
								t.Errorf("disposition %v of the other tenant's event", d)
							}
							mu.Lock()
							defer mu.Unlock()
							slowest = max(slowest, time.Since(start))
						})
					}
					time.Sleep(time.Second)
				}
				all.Wait()
				if slowest > 100*time.Millisecond {
					t.Errorf("an event of the other tenant took %v", slowest)
				}
				if n := x.stored(t, "b"); n != rounds*each {
					t.Errorf("%d stored of the other tenant", n)
				}
				if most := x.most.Load(); most > slots {
					t.Errorf("%d of the troubled tenant's events were processed at a time, want at most %d", most, slots)
				}
				if !x.Ready() {
					t.Error("the gate is shut")
				}
				close(release)
				synctest.Wait()
				if n := x.running.Load(); n != 0 {
					t.Errorf("%d still run", n)
				}
			})
		})
	}
}

// TestBreaker: after five failures in a row a processor is left alone; one event tries it every 10 seconds.
func TestBreaker(t *testing.T) {
	t.Parallel()
	boom := func() (processor.Result, error) { panic("boom") }
	fail := func() (processor.Result, error) { return processor.Result{}, errors.New("not now") }
	hang := func() (processor.Result, error) { time.Sleep(5 * time.Second); return processor.Result{}, nil }
	for name, tt := range map[string]struct {
		do   func() (processor.Result, error)
		want queue.Disposition // of an event that meets it
	}{"panics": {boom, queue.Ack}, "fails": {fail, queue.Nack}, "hangs": {hang, queue.Nack}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				x := newTroubled(t, tt.do)
				for n := range 5 {
					if d := x.one(t, "a", n); d != tt.want {
						t.Errorf("event %d: disposition %v, want %v", n, d, tt.want)
					}
				}
				x.expect(t, 5, "breaker open")
				x.rejects(t, 5)
				time.Sleep(10 * time.Second)
				x.one(t, "a", 5) // probes in vain
				x.rejects(t, 6)
				x.expect(t, 6, "breaker open")
				x.does(func() (processor.Result, error) { return processor.Result{}, nil })
				time.Sleep(10 * time.Second)
				for range 3 {
					if d := x.one(t, "a", 5); d != queue.Ack {
						t.Errorf("disposition %v after it works again", d)
					}
				}
				x.expect(t, 9, "breaker closed")
				time.Sleep(10 * time.Second) // for what was left behind
			})
		})
	}
}

// rejects checks that events are given back at once, without a call.
func (x *troubled) rejects(t *testing.T, calls int64) {
	t.Helper()
	start := time.Now()
	for n := range 20 {
		if d := x.one(t, "a", n); d != queue.Nack {
			t.Errorf("disposition %v while the breaker is open", d)
		}
	}
	if took := time.Since(start); took > 0 || x.calls.Load() != calls {
		t.Errorf("%d calls, want %d, in %v", x.calls.Load(), calls, took)
	}
}

// expect checks how often the processor was called and that a line was logged once, with tenant and processor.
func (x *troubled) expect(t *testing.T, calls int64, line string) {
	t.Helper()
	if n := x.calls.Load(); n != calls {
		t.Errorf("%d calls, want %d", n, calls)
	}
	n := 0
	for l := range strings.Lines(x.logs.String()) {
		if strings.Contains(l, `"msg":"`+line) {
			n++
			if !strings.Contains(l, `"tenant_id":"a","processor":"own"}`) {
				t.Errorf("line %s", l)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d lines %q, want 1", n, line)
	}
}

// TestBreaker_probesAlone: while one event probes, others are given back, those that were waved through before included.
func TestBreaker_probesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newTroubled(t, func() (processor.Result, error) { return processor.Result{}, errors.New("not now") })
		for n := range 5 {
			x.one(t, "a", n)
		}
		x.does(func() (processor.Result, error) { time.Sleep(500 * time.Millisecond); return processor.Result{}, nil })
		time.Sleep(10 * time.Second)
		var all sync.WaitGroup
		var acked atomic.Int64
		for n := range 10 {
			all.Go(func() {
				if x.one(t, "a", n) == queue.Ack {
					acked.Add(1)
				}
			})
		}
		all.Wait()
		if n := acked.Load(); n != 1 || x.calls.Load() != 6 {
			t.Errorf("%d acked, %d calls, want one probe", n, x.calls.Load())
		}
	})
}

// TestBreaker_whatIsNoFailure: an error about one event, a success in between and a changed record keep it closed.
func TestBreaker_whatIsNoFailure(t *testing.T) {
	t.Parallel()
	x := newTroubled(t, func() (processor.Result, error) {
		return processor.Result{}, processor.Permanent(errors.New("this one"))
	})
	for n := range 20 {
		x.one(t, "a", n)
	}
	if n := x.calls.Load(); n != 20 {
		t.Errorf("%d calls of 20 after permanent errors", n)
	}
	fails := 0
	x.does(func() (processor.Result, error) {
		if fails++; fails%5 == 0 {
			return processor.Result{}, nil
		}
		return processor.Result{}, errors.New("not now")
	})
	for n := range 20 {
		x.one(t, "a", n)
	}
	if n := x.calls.Load(); n != 40 {
		t.Errorf("%d calls of 40 with every fifth a success", n)
	}
	x.does(func() (processor.Result, error) { return processor.Result{}, errors.New("not now") })
	for n := range 20 {
		x.one(t, "a", n)
	}
	changed := *x.tenants.known["a"]
	changed.Version++
	x.tenants.known["a"] = &changed
	x.one(t, "a", 0)
	if n := x.calls.Load(); n != 46 {
		t.Errorf("%d calls, want one more after a change of the record", n)
	}
}

// TestBusyTenant: events wait for a slot for the processor's timeout; when none comes free five times in a row, they are
// given back at once, until one finds a slot again.
func TestBusyTenant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		x := newTroubled(t, func() (processor.Result, error) { <-release; return processor.Result{}, nil })
		all := func(n int) time.Duration {
			start := time.Now()
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if d := x.one(t, "a", i); d != queue.Nack {
						t.Errorf("disposition %v", d)
					}
				})
			}
			all.Wait()
			return time.Since(start)
		}
		all(slots) // fills it, for as long as the processor hangs
		time.Sleep(10 * time.Second)
		if took := all(5); took != time.Second {
			t.Errorf("waited for %v, want the timeout", took)
		}
		if took := all(50); took != 0 {
			t.Errorf("waited for %v with the breaker open", took)
		}
		text := x.logs.String()
		if !strings.Contains(text, "tenant is busy") || strings.Count(text, `"processor":"chain"`) != 1 {
			t.Errorf("log %s", text)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.Sleep(10 * time.Second)
		time.AfterFunc(time.Millisecond, cancel) // receiving ends while the probe waits: that says nothing
		x.Handle(ctx, message(t, event("evt_a", "a", "ada")))
		close(release)
		synctest.Wait()
		x.does(func() (processor.Result, error) { return processor.Result{}, nil })
		if d := x.one(t, "a", 1); d != queue.Ack {
			t.Errorf("disposition %v once slots are free", d)
		}
		if !strings.Contains(x.logs.String(), `"msg":"breaker closed again","tenant_id":"a","processor":"chain"`) {
			t.Error("the log does not tell that it is over")
		}
	})
}

// TestFloodedTenantIsNotLockedOut: a tenant with more events than its processor takes, one that gets on all the same,
// keeps all of its slots; only the events that waited too long are given back.
func TestFloodedTenantIsNotLockedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newTroubled(t, func() (processor.Result, error) {
			time.Sleep(400 * time.Millisecond)
			return processor.Result{}, nil
		})
		var all sync.WaitGroup
		for n := range 6 * slots { // three rounds begin within the timeout
			all.Go(func() { x.one(t, "a", n) })
		}
		all.Wait()
		if n := x.calls.Load(); n != 3*slots {
			t.Errorf("%d calls, want %d", n, 3*slots)
		}
		if d := x.one(t, "a", 0); d != queue.Ack {
			t.Errorf("disposition %v with every slot free", d)
		}
		if strings.Contains(x.logs.String(), "breaker open") {
			t.Errorf("log %s", x.logs)
		}
	})
}
