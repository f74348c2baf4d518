package dispatch_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/tenant"
)

// TestHungProcessorIsLeftBehind: a processor that does not heed its context keeps no message.
func TestHungProcessorIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		b := setup(t, &custom{"own", func(*visitor.Event) (processor.Result, error) {
			<-release
			return processor.Result{}, nil
		}})
		start := time.Now()
		if d := b.Handle(t.Context(), good(t)); d != queue.Nack {
			t.Errorf("disposition %v, want nack", d)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("took %v", took)
		}
		if line := b.logs.lines(t)[0]; !strings.Contains(line["error"].(string), "did not finish in time") {
			t.Errorf("logged %v", line)
		}
	})
}

// TestLeftBehindGoesNoFurther: what was left behind and ends after all has no say: later processors do not run, and its
// failure is counted once.
func TestLeftBehindGoesNoFurther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		var calls, later atomic.Int64
		own := &custom{"own", func(*visitor.Event) (processor.Result, error) {
			if calls.Add(1); !works.Load() {
				time.Sleep(time.Minute)
			}
			return processor.Result{}, nil
		}}
		after := &custom{"later", func(*visitor.Event) (processor.Result, error) { later.Add(1); return processor.Result{}, nil }}
		b := setup(t, own, func(o *dispatch.Options) { o.Registry = registry(t, own, after) })
		b.tenants.known["t1"].Processors = []tenant.Binding{{Name: "own"}, {Name: "later"}}
		for range 4 {
			b.Handle(t.Context(), good(t))
		}
		time.Sleep(time.Minute)
		if calls.Load() != 4 || later.Load() != 0 {
			t.Errorf("%d calls, %d of the later processor", calls.Load(), later.Load())
		}
		b.Handle(t.Context(), good(t)) // the fifth failure in a row
		time.Sleep(5 * time.Second)
		works.Store(true)
		if d := b.Handle(t.Context(), good(t)); d != queue.Nack || later.Load() != 0 {
			t.Errorf("disposition %v, %d calls of the later processor, with the breaker open", d, later.Load())
		}
		time.Sleep(time.Minute)
		if d := b.Handle(t.Context(), good(t)); d != queue.Ack || later.Load() != 1 {
			t.Errorf("disposition %v, %d calls of the later processor", d, later.Load())
		}
	})
}

// TestPanicIsParked: usher's own panic is about one message, once; what was thrown is not repeated.
func TestPanicIsParked(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, func(o *dispatch.Options) {
		o.Committer = committerFunc(func(context.Context, *commit.Item) error { panic("ada@example.com") })
	})
	if d := b.Handle(t.Context(), good(t)); d != queue.Ack {
		t.Errorf("disposition %v, want ack", d)
	}
	dl := b.letters.one(t)
	if dl.Reason != envelope.ReasonPanic || dl.Class != envelope.ClassPipeline || strings.Contains(dl.Detail, "ada@") {
		t.Errorf("dead letter %s, %s: %s", dl.Reason, dl.Class, dl.Detail)
	}
	if strings.Contains(b.logs.String(), "ada@") {
		t.Error("what was thrown is in the log")
	}
}

// TestEventThatBreaksTheStoreIsGivenBack: an internal error that comes again although the store answers is
// about the message, so the gate does not stay shut for it.
func TestEventThatBreaksTheStoreIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{code: code.Internal}
		b := setup(t, nil, o.set, func(opts *dispatch.Options) { opts.Probe = func(context.Context) error { return nil } })
		o.away.Store(true)
		start := time.Now()
		if d := b.Handle(t.Context(), good(t)); d != queue.Nack {
			t.Errorf("disposition %v, want nack", d)
		}
		if n, took := o.tries.Load(), time.Since(start); n != 2 || took > time.Second {
			t.Errorf("%d tries in %v, want 2 within a second", n, took)
		}
		if !b.Ready() {
			t.Error("the gate is shut")
		}
	})
}

// TestProbesSlowDownWhileTheGateFlaps: a system that answers probes and fails all the same is not hammered.
func TestProbesSlowDownWhileTheGateFlaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{code: code.Unavailable}
		b := setup(t, nil, o.set, func(opts *dispatch.Options) {
			opts.Probe, opts.MaxHold = func(context.Context) error { return nil }, 10*time.Second
		})
		o.away.Store(true)
		b.Handle(t.Context(), good(t))
		if n := o.tries.Load(); n > 15 {
			t.Errorf("%d tries in 10 s", n)
		}
	})
}
