package deadletter_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit"
	"github.com/usherhq/usher/internal/usage"
)

// onOff is a directory whose one tenant can be switched on.
type onOff struct{ active atomic.Bool }

func (d *onOff) Get(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	return d.Fresh(ctx, id)
}

func (d *onOff) Fresh(_ context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	t := &tenant.Tenant{ID: id, Status: "of_tomorrow"} // unknown to this build, so its messages are parked
	if d.active.Load() {
		t.Status = tenant.Active
	}
	return t, nil
}

// world is a queue, a store, a dispatcher and a receiver, all running; the twins misbehave.
type world struct {
	store   *memstore.Store
	queue   *memqueue.Queue
	tenants *onOff
	d       *dispatch.Dispatcher
	now     func() time.Time
}

func newWorld(t *testing.T, seed uint64, rate float64, now func() time.Time) *world {
	t.Helper()
	inQueue := fault.Everything(rate)
	w := &world{
		tenants: &onOff{},
		now:     now,
		store: memstore.New(memstore.Options{Faults: fault.New(seed, fault.Plan{
			fault.Aborted: rate, fault.LostResponse: rate, fault.LateApply: rate,
		})}),
		queue: memqueue.New(memqueue.Options{Faults: fault.New(seed, inQueue), Now: now}),
	}
	err := w.queue.Create(t.Context(), queue.Topology{
		Topics: []string{"events", "dead"},
		Subscriptions: []queue.SubscriptionSpec{
			{Name: "daemon", Topic: "events", MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond},
			{Name: "letters", Topic: "dead", MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.d = w.dispatcher(t)
	r, err := deadletter.NewReceiver(deadletter.Options{
		Store: w.store, Logger: slog.New(slog.DiscardHandler), Now: now, Retention: retention, Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.receive(t, "daemon", w.d.Handle)
	w.receive(t, "letters", r.Handle)
	return w
}

func (w *world) dispatcher(t *testing.T) *dispatch.Dispatcher {
	t.Helper()
	reg := processor.NewRegistry()
	if err := reg.Register(profile.Processor{}); err != nil {
		t.Fatal(err)
	}
	c, err := commit.New(commit.Options{
		Store: w.store, Now: w.now, MaxEvents: 20, MaxBytes: 1 << 20, Linger: time.Millisecond, Concurrency: 2,
		Timeout: 5 * time.Second, Shards: 2, CacheSize: 10_000, Retention: window,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	keeper, err := held.New(held.Options{Store: w.store, Now: w.now, Retention: window, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dispatch.New(dispatch.Options{
		Tenants: w.tenants, Registry: reg, Committer: c, DeadLetters: w.queue.Publisher("dead"),
		Resolver: resolve.New(nil), Cookbook: &resolve.Endpoint{Name: "cookbook", Adapter: mdblegacy.New()},
		Probe:  func(context.Context) error { return nil },
		Logger: slog.New(slog.DiscardHandler), Now: w.now,
		ProcessorTimeout: time.Second, PublishTimeout: time.Second, ProbeInterval: 10 * time.Millisecond,
		UnknownGrace: time.Minute, Window: window, MaxHold: time.Minute, CacheSize: 10,
		TenantConcurrency: 100, Held: keeper,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// receive runs a handler until the test ends.
func (w *world) receive(t *testing.T, subscription string, h queue.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.queue.Subscriber(subscription, queue.FlowControl{}).Receive(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("receive on %s: %v", subscription, err)
		}
	})
}

// publish publishes until it is acknowledged.
func (w *world) publish(t *testing.T, topic string, m *queue.Message) {
	t.Helper()
	for {
		if _, err := w.queue.Publisher(topic).Publish(t.Context(), m); err == nil {
			return
		}
	}
}

// idle waits until nothing is under way.
func (w *world) idle(t *testing.T) {
	t.Helper()
	for _, s := range []string{"daemon", "letters"} { // letters come of the daemon's messages
		if err := w.queue.WaitIdle(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	w.store.Settle()
}

// letters are all stored dead letters.
func (w *world) letters(t *testing.T, f deadletter.Filter) (out []deadletter.Record) {
	t.Helper()
	var after deadletter.Cursor
	for {
		page, next, err := deadletter.List(t.Context(), w.store, f, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, page...); next == (deadletter.Cursor{}) {
			return out
		}
		after = next
	}
}

// redriveAll redrives until a run is not broken off.
func (w *world) redriveAll(t *testing.T, again bool) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func(ctx context.Context) bool {
		r, err := w.redrive(ctx, again, false)
		if r != nil && r.Refused > 0 {
			t.Errorf("refused: %+v", r.Refusals)
		}
		return err == nil
	}, "everything is put back")
}

func (w *world) redrive(ctx context.Context, again, allowStale bool) (*deadletter.Report, error) {
	return deadletter.Redrive(ctx, w.store, deadletter.Selection{}, deadletter.RedriveOptions{
		Again: again, AllowStale: allowStale, Events: stubborn{w.queue.Publisher("events")}, Resolver: resolve.New(nil),
		Endpoints: []resolve.Endpoint{{Name: "mdb", Adapter: mdblegacy.New()}},
		Cookbook:  &resolve.Endpoint{Name: "cookbook", Adapter: mdblegacy.New()},
		Window:    window, Now: w.now,
	})
}

// stubborn publishes until it is acknowledged, as Google's client does: a run that has to do everything again would
// otherwise hardly ever end.
type stubborn struct{ queue.Publisher }

func (p stubborn) Publish(ctx context.Context, m *queue.Message) (id string, err error) {
	for ctx.Err() == nil {
		if id, err = p.Publisher.Publish(ctx, m); err == nil {
			return id, nil
		}
	}
	return "", ctx.Err()
}

// TestRedriveHasOneEffect: what a daemon parks is stored once, listed, put back, put back again, and has one effect,
// whatever queue and store do meanwhile.
func TestRedriveHasOneEffect(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const messages, webhooks = 60, 5
			w := newWorld(t, seed, 0.02*float64(seed), time.Now) // the first world is a good one
			received := time.Now().UTC().Add(-time.Hour)
			for i := range messages {
				ev := event(visitor.NewEventID("midbound", "acme", fmt.Sprint(i), 0))
				ev.Receipt.ReceivedAt, ev.IdentifiedAt = received, received
				m, err := envelope.Encode(ev, []byte(`{}`))
				if err != nil {
					t.Fatal(err)
				}
				w.publish(t, "events", m)
			}
			for i := range webhooks {
				d := parkedWebhook(fmt.Sprintf(`{"version":"v1","options":{"tenant_id":"acme"},"data":{"work_email":"ada%d@example.com"}}`, i))
				d.ParkedAt, d.ReceivedAt = received, received
				m, err := envelope.EncodeDeadLetter(&d)
				if err != nil {
					t.Fatal(err)
				}
				w.publish(t, "dead", m)
				w.publish(t, "dead", m)
			}
			w.idle(t)
			if n := len(w.letters(t, deadletter.Filter{Reason: envelope.ReasonTenantInactive})); n < messages {
				t.Fatalf("%d dead letters of messages, want %d", n, messages)
			}
			if n := len(w.letters(t, deadletter.Filter{Endpoint: "mdb"})); n != webhooks {
				t.Fatalf("%d dead letters of webhooks, want %d", n, webhooks)
			}
			w.tenants.active.Store(true)
			w.redriveAll(t, false)
			w.idle(t)
			w.redriveAll(t, true)
			w.idle(t)
			w.checkOnce(t, messages+webhooks, received)
			if n := len(w.letters(t, deadletter.Filter{Status: deadletter.Parked})); n != 0 {
				t.Errorf("%d are still parked", n)
			}
		})
	}
}

// TestRedriveOfStale: what came in the last tenth of a second of a month and is put back 40 days later counts in that
// month and on that day, once, under its own ids; without the operator's word it is not put back at all.
func TestRedriveOfStale(t *testing.T) {
	t.Parallel()
	received := time.Date(2026, 8, 31, 23, 59, 59, 900_000_000, time.UTC)
	w := newWorld(t, 1, 0, func() time.Time { return received.AddDate(0, 0, 40) })
	w.tenants.active.Store(true)
	ev := event("evt_stale")
	ev.Receipt.ReceivedAt, ev.IdentifiedAt = received, received
	m, err := envelope.Encode(ev, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	w.publish(t, "events", m)
	d := parkedWebhook(webhookBody)
	d.ParkedAt, d.ReceivedAt = received, received
	if m, err = envelope.EncodeDeadLetter(&d); err != nil {
		t.Fatal(err)
	}
	w.publish(t, "dead", m)
	w.idle(t)

	r, err := w.redrive(t.Context(), false, false)
	if err != nil || r.Refused != 2 || r.Stale != 2 || r.Published != 0 || r.Refusals[0].Reason != envelope.ReasonStale {
		t.Fatalf("without the operator's word: %+v, %v", r, err)
	}
	for again := range 3 { // the second and the third time nothing changes
		if r, err = w.redrive(t.Context(), again > 0, true); err != nil || r.Redriven != 2 || r.Published != 2 {
			t.Fatalf("run %d: %+v, %v", again, r, err)
		}
		w.idle(t)
		w.checkOnce(t, 2, received)
	}
	docs, err := w.store.Get(t.Context(), []store.Path{"tenants/acme/visitor_identifications/evt_stale"})
	if err != nil || !docs[0].Exists || docs[0].Fields.Text("period") != "2026-08-31" || !docs[0].Fields.Time("received_at").Equal(received) {
		t.Errorf("record %+v, %v", docs, err)
	}
	month, err := usage.Read(t.Context(), w.store, "acme", "2026-08", 2)
	if err != nil || month.Days["2026-08-31"].Events != 2 {
		t.Errorf("usage of August %+v, %v", month, err)
	}
	if later, err := usage.Read(t.Context(), w.store, "acme", "2026-10", 2); err != nil || later.Events != 0 {
		t.Errorf("usage of October %+v, %v", later, err)
	}
	if left := w.letters(t, deadletter.Filter{Status: deadletter.Parked}); len(left) != 0 {
		t.Errorf("still parked: %+v", left)
	}
}

// TestPermissionToBeStaleEnds: a message that is parked again carries no permission into the next run.
func TestPermissionToBeStaleEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedMessage(t, "17")
	d.Message.Attributes[envelope.AttrAllowStale] = "1"
	b.park(t, d)
	for _, allow := range []bool{false, true} {
		events := &topic{}
		o := b.options(events)
		o.Again, o.AllowStale = true, allow
		r := b.redrive(t, deadletter.Selection{}, o)
		if _, got := events.sent[0].Attributes[envelope.AttrAllowStale]; got != allow {
			t.Errorf("allow stale %v: attributes %v", allow, events.sent[0].Attributes)
		}
		if got := b.audit(t, r.AuditID).Bool("allow_stale"); got != allow {
			t.Errorf("audit record says %v, want %v", got, allow)
		}
	}
}

// checkOnce holds that so many events are stored and counted.
func (w *world) checkOnce(t *testing.T, want int, received time.Time) {
	t.Helper()
	docs, err := w.store.Query(t.Context(), store.Query{Collection: "tenants/acme/visitor_identifications", Limit: store.MaxLimit})
	if err != nil || len(docs) != want {
		t.Errorf("%d identifications, want %d, %v", len(docs), want, err)
	}
	m, err := usage.Read(t.Context(), w.store, "acme", received.Format("2006-01"), 2)
	if err != nil || int(m.Events) != want {
		t.Errorf("%+v events are counted, want %d, %v", m, want, err)
	}
}
