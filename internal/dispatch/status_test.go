package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/usage"
)

// publisherFunc is a function as a queue.Publisher.
type publisherFunc func(ctx context.Context, m *queue.Message) (string, error)

func (f publisherFunc) Publish(ctx context.Context, m *queue.Message) (string, error) {
	return f(ctx, m)
}

// TestPausedTenant: while a tenant is paused nothing of its events is stored or counted; released, each takes effect once,
// in the period of its first receipt, also a cookbook publisher's and one that was sent twice.
func TestPausedTenant(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	paused := *b.tenants.known["t1"]
	paused.Status = tenant.Disabled
	active := b.tenants.known["t1"]
	b.tenants.known["t1"] = &paused
	lastMonth := event("evt_b", "t1", "bob")
	lastMonth.Receipt.ReceivedAt = now.AddDate(0, 0, -5)
	for _, m := range []*queue.Message{good(t), message(t, lastMonth), good(t), cookbook("evt_1"), cookbook("evt_2")} {
		if d := b.Handle(t.Context(), m); d != queue.Ack {
			t.Errorf("disposition %v", d)
		}
	}
	if n := b.Stats()["held"]; n != 5 || b.stored(t, "t1") != 0 || b.month(t, "2026-11").Events != 0 {
		t.Errorf("%d held, %d stored, %+v counted", n, b.stored(t, "t1"), b.month(t, "2026-11"))
	}

	b.tenants.known["t1"] = active
	report, err := held.Release(t.Context(), b.store, "t1", held.ReleaseOptions{
		Events: publisherFunc(func(ctx context.Context, m *queue.Message) (string, error) {
			m.PublishTime = now.AddDate(0, 0, 20) // whenever that is
			if b.Handle(ctx, m) != queue.Ack {
				t.Error("not acked")
			}
			return "1", nil
		}),
	})
	if err != nil || report.Released != 3 {
		t.Errorf("report %+v, %v", report, err)
	}
	if n := b.stored(t, "t1"); n != 3 {
		t.Errorf("%d stored, want 3", n)
	}
	if before, after := b.month(t, "2026-10").Events, b.month(t, "2026-11").Events; before != 1 || after != 2 {
		t.Errorf("%d and %d events counted, want 1 and 2", before, after)
	}
}

func (b *bench) month(t *testing.T, month string) *usage.Month {
	t.Helper()
	m, err := usage.Read(t.Context(), b.store, "t1", month, 2)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestOffboardedTenant: nothing is written, be it as a dead letter.
func TestOffboardedTenant(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for range 3 {
		if d := b.Handle(t.Context(), of("gone", 0)(t)); d != queue.Ack {
			t.Errorf("disposition %v", d)
		}
	}
	docs, err := b.store.Query(t.Context(), store.Query{Collection: "tenants/gone/held_events", Limit: 1})
	if st := b.store.Stats(); err != nil || st.Commits != 0 || len(docs) != 0 || len(b.letters.sent) != 0 || b.Stats()["discarded_inactive"] != 3 {
		t.Errorf("%+v, %d held, %d parked, stats %v, %v", st, len(docs), len(b.letters.sent), b.Stats(), err)
	}
}

// TestHoldingWaitsForTheStore: an outage holds the events of paused tenants like all others.
func TestHoldingWaitsForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(5 * time.Second)
		away := func() error {
			if time.Now().Before(back) {
				return code.New(code.Unavailable, "store", nil)
			}
			return nil
		}
		calls := 0
		b := setup(t, nil, func(o *dispatch.Options) {
			o.Probe = func(context.Context) error { return away() }
			o.Held = holderFunc(func(context.Context, *visitor.Event, *queue.Message) error { calls++; return away() })
		})
		if d := b.Handle(t.Context(), of("off", 0)(t)); d != queue.Ack || calls != 2 || !b.Ready() {
			t.Errorf("disposition %v after %d calls, ready %v", d, calls, b.Ready())
		}
	})
}
