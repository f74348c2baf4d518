package dispatch

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestBulkheadsTakeNoMemory: a tenant none of whose chains runs is forgotten, whether it was let in or not.
func TestBulkheadsTakeNoMemory(t *testing.T) {
	t.Parallel()
	b := newBulkheads(1)
	if err := b.enter(t.Context(), "a", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := b.enter(t.Context(), "b", time.Minute); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if err := b.enter(t.Context(), "a", time.Millisecond); !errors.Is(err, errStuck) {
		t.Errorf("error %v, want errStuck", err)
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := b.enter(ctx, "a", time.Minute); !errors.Is(err, gone) {
		t.Errorf("error %v, want what ended the wait", err)
	}
	waited := make(chan error)
	go func() { waited <- b.enter(t.Context(), "a", time.Minute) }()
	b.leave("a")
	if err := <-waited; err != nil {
		t.Errorf("after a slot came free: %v", err)
	}
	b.leave("a")
	b.leave("b")
	if len(b.tenants) != 0 {
		t.Errorf("%d tenants are kept", len(b.tenants))
	}
}

// TestBreakerIgnoresStrays: while it is open, what began before decides nothing.
func TestBreakerIgnoresStrays(t *testing.T) {
	t.Parallel()
	var b breaker
	for range breakAfter {
		b.record(b.enter(), true)
	}
	for _, failed := range []bool{false, true} {
		if c := b.record(passRun, failed); c != changeNone || !b.refuses() || b.enter() != passNone {
			t.Errorf("failed %v: change %d, refuses %v", failed, c, b.refuses())
		}
	}
	b.until = time.Now() // due
	if p := b.enter(); p != passProbe {
		t.Fatalf("pass %d, want the probe", p)
	}
	b.record(passRun, true)
	if b.enter() != passNone {
		t.Error("a stray result lets a second event probe")
	}
	b.abstain(passProbe)
	if p := b.enter(); p != passProbe {
		t.Errorf("pass %d after the probe was given back", p)
	}
	if c := b.record(passProbe, false); c != changeClosed || b.refuses() || b.troubled.Load() {
		t.Errorf("change %d after the probe's success", c)
	}
}
