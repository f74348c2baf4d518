package held_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/gcpfirestore"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
)

var now = time.Date(2026, 11, 3, 12, 0, 0, 123_456_000, time.UTC)

const retention = 90 * 24 * time.Hour

// everywhere runs a test on the memory twin and on the emulator, each time with a tenant of its own.
func everywhere(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	t.Run("twin", func(t *testing.T) {
		t.Parallel()
		test(t, newBench(t, memstore.New(memstore.Options{})))
	})
	t.Run("emulator", func(t *testing.T) {
		t.Parallel()
		s, err := gcpfirestore.Open(t.Context(), gcpfirestore.Options{
			Project: "demo-held", Database: "(default)", EmulatorHost: testkit.NeedFirestore(t), Connections: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, newBench(t, s))
	})
}

// bench is a keeper with everything around it.
type bench struct {
	*held.Keeper
	store  *flaky
	tenant visitor.TenantID
	topic  *topic
}

func newBench(t *testing.T, s store.Store) *bench {
	t.Helper()
	b := &bench{store: &flaky{Store: s}, topic: &topic{}, tenant: visitor.TenantID(fmt.Sprintf("t%x", rand.Uint64()))}
	var err error
	b.Keeper, err = held.New(held.Options{
		Store: b.store, Now: func() time.Time { return now }, Retention: retention, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flaky is a store whose commits and reads can be made to fail.
type flaky struct {
	store.Store
	commit func([]store.Write) error
	get    func() error
}

func (f *flaky) Commit(ctx context.Context, w []store.Write) error {
	if f.commit != nil {
		if err := f.commit(w); err != nil {
			return err
		}
	}
	return f.Store.Commit(ctx, w)
}

func (f *flaky) Get(ctx context.Context, p []store.Path) ([]store.Doc, error) {
	if f.get != nil {
		if err := f.get(); err != nil {
			return nil, err
		}
	}
	return f.Store.Get(ctx, p)
}

// topic is the topic of events.
type topic struct {
	mu   sync.Mutex
	sent []*queue.Message
	hook func(m *queue.Message) error // before it is acknowledged
}

func (p *topic) Publish(_ context.Context, m *queue.Message) (string, error) {
	if p.hook != nil {
		if err := p.hook(m); err != nil {
			return "", err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, m)
	return "1", nil
}

// ids are the events that were published, in order, once each.
func (p *topic) ids() []string {
	ids := map[string]bool{}
	for _, m := range p.sent {
		ids[m.Attributes["event_id"]] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

func (b *bench) event(id string) *visitor.Event {
	return &visitor.Event{
		ID: visitor.EventID(id), TenantID: b.tenant, Source: "midbound", Receipt: visitor.Receipt{ReceivedAt: now.Add(-time.Hour)},
	}
}

func message(id, data string) *queue.Message {
	return &queue.Message{Data: []byte(data), Attributes: map[string]string{"event_id": id, "a/b": "c", "__name__": ""}}
}

func (b *bench) hold(t *testing.T, id, data string) {
	t.Helper()
	if err := b.Hold(t.Context(), b.event(id), message(id, data)); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) release(t *testing.T) *held.Report {
	t.Helper()
	r, err := held.Release(t.Context(), b.store, b.tenant, held.ReleaseOptions{Events: b.topic})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// docs are the documents of one of the tenant's collections.
func (b *bench) docs(t *testing.T, collection string) []store.Doc {
	t.Helper()
	docs, err := b.store.Query(t.Context(), store.Query{
		Collection: store.Path("tenants/" + string(b.tenant) + "/" + collection), Limit: store.MaxLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func (b *bench) count(t *testing.T, limit int) int {
	t.Helper()
	n, err := held.Count(t.Context(), b.store, b.tenant, limit)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// large is more than a record holds.
const large = 128 << 10

// noise cannot be compressed.
func noise(size int) string {
	r := rand.NewChaCha8([32]byte{1})
	out := make([]byte, size)
	_, _ = r.Read(out)
	return string(out)
}

// TestHoldAndRelease: what was held is published as it was, and then gone; also more than a page, and what is larger
// than a document.
func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, b *bench) {
		t.Helper()
		want := map[string]*queue.Message{}
		for i := range 130 {
			id := fmt.Sprintf("evt_%03d", i)
			want[id] = message(id, fmt.Sprintf(`{"event":%d}`, i))
		}
		want["evt_large"] = message("evt_large", noise(2<<20))
		for id, m := range want {
			b.hold(t, id, string(m.Data))
		}
		if n := b.count(t, 1000); n != len(want) {
			t.Errorf("%d are held, want %d", n, len(want))
		}
		if n := b.count(t, 110); n != 110 {
			t.Errorf("counted %d with a limit of 110", n)
		}
		if n := len(b.docs(t, "held_parts")); n != 3 {
			t.Errorf("%d parts, want 3", n)
		}
		d := b.docs(t, "held_events")[7].Fields
		if d.Text("source") != "midbound" || !d.Time("received_at").Equal(now.Add(-time.Hour)) || !d.Time("held_at").Equal(now) ||
			!d.Time("expire_at").Equal(now.Add(retention)) {
			t.Errorf("record %+v", d)
		}

		var told []int
		r, err := held.Release(t.Context(), b.store, b.tenant, held.ReleaseOptions{
			Events: b.topic, Rate: 10_000, Progress: func(n int) { told = append(told, n) },
		})
		if err != nil || r.Released != len(want) || r.Refused != 0 {
			t.Fatalf("report %+v, %v", r, err)
		}
		if len(told) != len(want) || !slices.IsSorted(told) || told[len(told)-1] != len(want) {
			t.Errorf("progress %v", told)
		}
		for _, m := range b.topic.sent {
			w := want[m.Attributes["event_id"]]
			if w == nil || !bytes.Equal(w.Data, m.Data) || !maps.Equal(w.Attributes, m.Attributes) {
				t.Errorf("message of %d bytes with attributes %v is not as it was", len(m.Data), m.Attributes)
			}
		}
		if len(b.topic.sent) != len(want) || b.count(t, 10) != 0 || len(b.docs(t, "held_parts")) != 0 {
			t.Errorf("%d published, %d still held, %d parts", len(b.topic.sent), b.count(t, 10), len(b.docs(t, "held_parts")))
		}
		if r := b.release(t); r.Released != 0 {
			t.Errorf("again: %+v", r)
		}
	})
}

// TestHoldTwice: the first message of an event stays; a later occurrence of the same body is another event.
func TestHoldTwice(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, b *bench) {
		t.Helper()
		for i, after := range []time.Duration{0, 30 * time.Minute, 2 * time.Hour, 130 * time.Minute} {
			ev := b.event("evt_a")
			ev.RepeatAfterSeconds = 3600
			ev.Receipt.ReceivedAt = now.Add(after)
			if err := b.Hold(t.Context(), ev, message("evt_a", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		b.hold(t, "evt_b", noise(large))
		b.hold(t, "evt_b", "other")
		b.hold(t, "evt_b", noise(2*large))
		for _, d := range b.docs(t, "held_events") {
			if n := d.Fields.Int("repeats"); n != 1 && d.Path.ID() != "evt_b" || n != 2 && d.Path.ID() == "evt_b" {
				t.Errorf("%s: %d repeats", d.Path.ID(), n)
			}
		}
		b.release(t)
		var got []string
		for _, m := range b.topic.sent {
			if len(m.Data) < 10 {
				got = append(got, string(m.Data))
			} else if string(m.Data) != noise(large) {
				t.Error("the large message is not the first one")
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"0", "2"}, got); diff != "" || len(b.topic.sent) != 3 {
			t.Errorf("published (-want +got), %d in all:\n%s", len(b.topic.sent), diff)
		}
	})
}

// TestReleaseToADaemonThatDoesNotKnow: a copy that is held again before the record is deleted is not lost.
func TestReleaseToADaemonThatDoesNotKnow(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, b *bench) {
		t.Helper()
		b.hold(t, "evt_a", `{}`)
		b.hold(t, "evt_b", noise(large))
		b.topic.hook = func(m *queue.Message) error {
			id := m.Attributes["event_id"]
			return b.Hold(t.Context(), b.event(id), m)
		}
		b.release(t)
		if n := b.count(t, 10); n != 2 {
			t.Fatalf("%d are held, want both still", n)
		}
		b.topic.hook = nil
		if r := b.release(t); r.Released != 2 || b.count(t, 10) != 0 || len(b.topic.sent) != 4 {
			t.Errorf("report %+v, %d held, %d published", r, b.count(t, 10), len(b.topic.sent))
		}
	})
}

var errAway = code.New(code.Unavailable, "away", nil)

// TestReleaseBrokenOff: what was not acknowledged stays, and the next run goes on with it.
func TestReleaseBrokenOff(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(b *bench){
		"publish": func(b *bench) {
			b.topic.hook = func(m *queue.Message) error {
				if m.Attributes["event_id"] == "evt_7" {
					return errAway
				}
				return nil
			}
		},
		"delete": func(b *bench) {
			b.store.commit = func(w []store.Write) error {
				if w[0].Delete && w[0].Path.ID() == "evt_7" {
					return errAway
				}
				return nil
			}
		},
		"denied": func(b *bench) {
			b.store.commit = func([]store.Write) error { return code.New(code.Denied, "commit", nil) }
		},
		"read": func(b *bench) { b.store.get = func() error { return errAway } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, memstore.New(memstore.Options{}))
			for i := range 10 {
				b.hold(t, fmt.Sprint("evt_", i), "{}")
			}
			b.hold(t, "evt_large", noise(large))
			fail(b)
			r, err := held.Release(t.Context(), b.store, b.tenant, held.ReleaseOptions{Events: b.topic})
			if c := code.Of(err); c != code.Unavailable && c != code.Denied || r.Released > 10 {
				t.Errorf("report %+v, error %v", r, err)
			}
			*b.store, b.topic.hook = flaky{Store: b.store.Store}, nil
			left := b.count(t, 100)
			if again := b.release(t); again.Released != left || left+r.Released != 11 || len(b.topic.ids()) != 11 {
				t.Errorf("%d released, %d left, then %+v; published %v", r.Released, left, again, b.topic.ids())
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("interrupted")
	cancel(gone)
	b := newBench(t, memstore.New(memstore.Options{}))
	if _, err := held.Release(ctx, b.store, b.tenant, held.ReleaseOptions{Events: b.topic}); err == nil {
		t.Error("released with an ended context")
	}
}

// TestReleaseRefuses: what can never be published stays, is told, and does not keep the rest.
func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, memstore.New(memstore.Options{}))
	b.hold(t, "evt_a", "{}")
	b.hold(t, "evt_b", noise(large))
	b.hold(t, "evt_c", "{}")
	b.hold(t, "evt_d", "{}")
	var writes []store.Write
	for _, d := range b.docs(t, "held_parts")[:1] {
		writes = append(writes, store.Write{Path: d.Path, Delete: true})
	}
	writes = append(writes, store.Write{
		Path: b.docs(t, "held_events")[3].Path, Merge: true, Fields: store.Fields{{Name: "payload", Value: []byte("x")}},
	})
	if err := b.store.Commit(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
	b.topic.hook = func(m *queue.Message) error {
		if m.Attributes["event_id"] == "evt_c" {
			return code.New(code.TooLarge, "publish", nil)
		}
		return nil
	}
	r := b.release(t)
	slices.SortFunc(r.Refusals, func(a, b held.Refusal) int { return strings.Compare(string(a.ID), string(b.ID)) })
	want := &held.Report{Released: 1, Refused: 3, Refusals: []held.Refusal{
		{ID: "evt_b", Detail: "its payload is damaged"}, {ID: "evt_c", Detail: "does not fit a message"},
		{ID: "evt_d", Detail: "its payload is damaged"},
	}}
	if diff := cmp.Diff(want, r); diff != "" || b.count(t, 10) != 3 {
		t.Errorf("%d held, report (-want +got):\n%s", b.count(t, 10), diff)
	}
}

// TestHoldFails: the store's errors are the caller's to judge.
func TestHoldFails(t *testing.T) {
	t.Parallel()
	conflict := func([]store.Write) error { return code.New(code.Conflict, "commit", nil) }
	for name, tt := range map[string]struct {
		fail func(*flaky)
		size int
		want code.Code
	}{
		"away":            {func(f *flaky) { f.commit = func([]store.Write) error { return errAway } }, 10, code.Unavailable},
		"away, parts":     {func(f *flaky) { f.commit = func([]store.Write) error { return errAway } }, large, code.Unavailable},
		"contended":       {func(f *flaky) { f.commit = conflict }, 10, code.Conflict},
		"cannot be read":  {func(f *flaky) { f.commit, f.get = conflict, func() error { return errAway } }, 10, code.Unavailable},
		"refused by code": {func(f *flaky) { f.commit = func([]store.Write) error { return code.New(code.Invalid, "commit", nil) } }, 10, code.Invalid},
	} {
		b := newBench(t, memstore.New(memstore.Options{}))
		tt.fail(b.store)
		if err := b.Hold(t.Context(), b.event("evt_a"), message("evt_a", noise(tt.size))); code.Of(err) != tt.want {
			t.Errorf("%s: error %v, want code %v", name, err, tt.want)
		}
	}
	b := newBench(t, memstore.New(memstore.Options{}))
	b.tenant = "a/b"
	if err := b.Hold(t.Context(), b.event("evt_a"), message("evt_a", "{}")); code.Of(err) != code.Invalid {
		t.Errorf("forbidden tenant: %v", err)
	}
	if err := b.Hold(t.Context(), b.event("evt_a"), message("evt_a", noise(large))); code.Of(err) != code.Invalid {
		t.Errorf("forbidden tenant, parts: %v", err)
	}
	if _, err := held.Count(t.Context(), b.store, b.tenant, 1); code.Of(err) != code.Invalid {
		t.Errorf("count of a forbidden tenant: %v", err)
	}
	for _, o := range []held.ReleaseOptions{{}, {Events: b.topic, Rate: -1}} {
		if _, err := held.Release(t.Context(), b.store, "acme", o); err == nil {
			t.Errorf("options %+v are taken", o)
		}
	}
	_, err := held.New(held.Options{})
	for _, want := range []string{"store: required", "now: required", "retention: ", "timeout: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// TestNothingIsLost: whatever the store does, each event that was told to be held is published at last, and nothing is
// left behind but for the expiry.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := memstore.New(memstore.Options{Faults: fault.New(seed, fault.Plan{
				fault.Aborted: 0.05, fault.LostResponse: 0.05, fault.LateApply: 0.05,
			})})
			b := newBench(t, s)
			const events = 60
			var all sync.WaitGroup
			for i := range 3 * events {
				all.Go(func() {
					id := fmt.Sprintf("evt_%03d", i%events)
					size := 10
					if i%20 == 0 {
						size = large
					}
					for b.Hold(t.Context(), b.event(id), message(id, noise(size))) != nil { // given back, and delivered again
					}
				})
			}
			all.Wait()
			testkit.Eventually(t, 20*time.Second, func(ctx context.Context) bool {
				r, err := held.Release(ctx, b.store, b.tenant, held.ReleaseOptions{Events: b.topic})
				return err == nil && r.Released == 0
			}, "everything is released")
			s.Settle()
			b.topic.hook = nil
			testkit.Eventually(t, 20*time.Second, func(ctx context.Context) bool {
				r, err := held.Release(ctx, b.store, b.tenant, held.ReleaseOptions{Events: b.topic})
				return err == nil && r.Released == 0
			}, "what was applied late is released, too")
			if n := len(b.topic.ids()); n != events {
				t.Errorf("%d events published, want %d", n, events)
			}
		})
	}
}
