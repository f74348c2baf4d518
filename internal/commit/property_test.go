package commit_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/gcpfirestore"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/testkit"
	"github.com/usherhq/usher/internal/usage"
)

// TestExactlyOnce is promise P2: several processes commit overlapping, shuffled deliveries of the same events
// on a store that aborts, loses responses and applies late. What is stored is what one process stores of each
// event once, in the order of the commits; and but for what came first, in any order. Each part checks as many
// cases as -rapid.checks says.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	for part := range 20 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(timeless{t}, func(t *rapid.T) {
					s := memstore.New(memstore.Options{
						Faults: drawFaults(t), CommitDelay: 5 * time.Millisecond, Now: func() time.Time { return noon },
					})
					w := world{seen: s, used: s, settle: s.Settle}
					w.check(t)
				})
			})
		})
	}
}

// TestExactlyOnceOnFirestore is the same on Google's emulator.
func TestExactlyOnceOnFirestore(t *testing.T) {
	t.Parallel()
	host := testkit.NeedFirestore(t)
	s, err := gcpfirestore.Open(t.Context(), gcpfirestore.Options{Project: testkit.UniqueID(t, "demo"), EmulatorHost: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var cases atomic.Int64
	for part := range 2 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				f := &faulty{Store: s, faults: drawFaults(t)}
				w := world{seen: s, used: f, settle: f.settle, prefix: fmt.Sprintf("c%d_", cases.Add(1))}
				w.check(t)
			})
		})
	}
}

// timeless hides the deadline of a test, which a bubble forbids to ask for.
type timeless struct{ rapid.TB }

func drawFaults(t *rapid.T) *fault.Injector {
	rate := rapid.SampledFrom([]float64{0, 0.05, 0.2, 0.35}).Draw(t, "faults")
	return fault.New(rapid.Uint64().Draw(t, "seed"), fault.Everything(rate))
}

// faulty does to a real store what the twin does to itself.
type faulty struct {
	store.Store
	faults *fault.Injector
	mu     sync.Mutex
	late   [][]store.Write
}

func (s *faulty) Commit(ctx context.Context, w []store.Write) error {
	s.settle()
	switch {
	case s.faults.Strike(fault.Aborted):
		return code.New(code.Conflict, "commit", nil)
	case s.faults.Strike(fault.LateApply):
		s.mu.Lock()
		defer s.mu.Unlock()
		s.late = append(s.late, w)
		return code.New(code.Unavailable, "commit", nil)
	}
	err := s.Store.Commit(ctx, w)
	if s.faults.Strike(fault.LostResponse) {
		return code.New(code.Unavailable, "commit", nil)
	}
	return err
}

// settle applies what is late.
func (s *faulty) settle() {
	s.mu.Lock()
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, w := range late {
		_ = s.Store.Commit(context.Background(), w) // nobody hears of it
	}
}

// world is where one case is played.
type world struct {
	used, seen store.Store // by the committers, and by the test
	settle     func()
	prefix     string // of tenants
	events     map[visitor.TenantID]map[visitor.EventID]*visitor.Event
	copies     []*visitor.Event // deliveries

	failed, stored, first atomic.Int64 // tries that failed, events told to be stored and to be first
}

// check plays a case and compares what is stored.
func (w *world) check(t *rapid.T) {
	w.draw(t)
	w.play(t)
	w.settle()
	n, visitors := 0, 0
	for id, events := range w.events {
		n += len(events)
		docs := records(t, w.seen, id)
		visitors += w.inOrder(t, id, docs)
		w.inAnyOrder(t, id)
	}
	// A try that failed may have been applied; its event is told to be a duplicate when it comes again.
	stored, first, failed := w.stored.Load(), w.first.Load(), w.failed.Load()
	if stored > int64(n) || first > int64(visitors) || failed == 0 && (stored != int64(n) || first != int64(visitors)) {
		t.Errorf("told %d stored and %d first of %d events and %d visitors; %d tries failed", stored, first, n, visitors, failed)
	}
}

// edge is between two months.
var edge = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// draw makes a few events of few visitors, and their deliveries: the same message again, or the vendor's retry.
func (w *world) draw(t *rapid.T) {
	w.events = map[visitor.TenantID]map[visitor.EventID]*visitor.Event{}
	for i := range rapid.IntRange(1, 10).Draw(t, "events") {
		ev := drawEvent(t, visitor.EventID(fmt.Sprint("evt_", i)), w.prefix)
		if w.events[ev.TenantID] == nil {
			w.events[ev.TenantID] = map[visitor.EventID]*visitor.Event{}
		}
		w.events[ev.TenantID][ev.ID] = ev
		w.copies = append(w.copies, ev)
		for range rapid.IntRange(0, 2).Draw(t, "again") {
			again := *ev
			again.Receipt.ReceivedAt = ev.Receipt.ReceivedAt.Add(rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second}).Draw(t, "retry"))
			w.copies = append(w.copies, &again)
		}
	}
	w.copies = rapid.Permutation(w.copies).Draw(t, "order")
}

// drawEvent draws from few values, so that there are ties and disorder.
func drawEvent(t *rapid.T, id visitor.EventID, prefix string) *visitor.Event {
	of := func(what string, values ...string) string { return rapid.SampledFrom(values).Draw(t, what) }
	at := edge.Add(rapid.SampledFrom([]time.Duration{
		-2 * time.Hour, -time.Minute, -100 * time.Millisecond, 0, 100 * time.Millisecond, 30 * time.Minute,
	}).Draw(t, "at"))
	ev := &visitor.Event{
		Schema: visitor.Schema, ID: id, Type: visitor.TypeVisitorIdentified, Origin: visitor.OriginWebhook,
		TenantID: visitor.TenantID(prefix + of("tenant", "t1", "t2")), Source: of("source", "midbound", "leadpipe", "snitcher"),
		Stage:        visitor.Stage(of("stage", "", string(visitor.StageResolved), string(visitor.StageEnriched))),
		IdentifiedAt: at, Receipt: visitor.Receipt{ReceivedAt: at.Add(time.Duration(len(id)) * time.Second)},
		Person:  visitor.Person{Title: of("title", "", "CTO", "VP"), FirstName: of("name", "", "Ada")},
		Company: visitor.Company{Name: of("company", "", "Acme", "Initech")},
		Session: visitor.Session{Host: of("host", "a.example", "b.example"), StartedAt: at.Add(-time.Minute)},
	}
	if mail := of("mail", "", "ada@example.com", "ADA@example.com", "a.d@example.com"); mail != "" {
		ev.Person.Emails = []visitor.Email{{Address: mail}, {Address: "info@example.com"}}
	}
	if phone := of("phone", "", "+15550100", "+15550101"); phone != "" {
		ev.Person.Phones = []visitor.Phone{{Number: phone}}
	}
	if who := of("who", "ada", "ada", "eve", ""); who != "" {
		ev.VisitorID = visitor.NewVisitorID(ev.TenantID, visitor.Identifier{Kind: visitor.IdentifierVendor, Value: who})
	}
	if rapid.Bool().Draw(t, "body") {
		ev.RepeatAfterSeconds = 3600
	}
	return ev
}

// play delivers everything to one or several processes.
func (w *world) play(t *rapid.T) {
	var clock atomic.Int64
	var all []*commit.Committer
	for range rapid.IntRange(1, 3).Draw(t, "processes") {
		o := options(w.used)
		o.Now = func() time.Time { return noon.Add(time.Duration(clock.Add(1)) * time.Microsecond) }
		o.Concurrency, o.MaxEvents = rapid.IntRange(1, 3).Draw(t, "concurrency"), rapid.IntRange(1, 8).Draw(t, "batch")
		o.CacheSize = rapid.SampledFrom([]int{1, 100}).Draw(t, "cache")
		all = append(all, open(t, o))
	}
	var wg sync.WaitGroup
	for _, ev := range w.copies {
		c := rapid.SampledFrom(all).Draw(t, "process")
		wg.Go(func() {
			it := item(ev)
			for c.Add(context.Background(), it) != nil { // a nacked message comes again
				w.failed.Add(1)
				it = item(ev)
			}
			if !it.Result.Duplicate {
				w.stored.Add(1)
			}
			if it.Result.FirstMatch {
				w.first.Add(1)
			}
		})
	}
	wg.Wait()
}

// inOrder compares records and usage with a serial run in the order of the commits, which the records' versions
// tell; within one commit the events are in order. It returns how many visitors there are.
func (w *world) inOrder(t *rapid.T, id visitor.TenantID, docs []store.Doc) (visitors int) {
	slices.SortFunc(docs, func(a, b store.Doc) int {
		return cmp.Or(time.Time(a.Version).Compare(time.Time(b.Version)),
			a.Fields.Time("identified_at").Compare(b.Fields.Time("identified_at")), cmp.Compare(a.Path, b.Path))
	})
	months := map[string]*usage.Month{}
	known := map[visitor.VisitorID]bool{}
	for _, d := range docs {
		ev := w.delivered(d)
		if ev == nil {
			t.Fatalf("%s: record of no delivery", id)
		}
		first := ev.VisitorID != "" && !known[ev.VisitorID]
		known[ev.VisitorID] = true
		if d.Fields.Bool("first_match") != first || d.Fields.Text("period") != ev.Day() {
			t.Errorf("%s: %s: first match %v, period %s; want %v and %s",
				id, ev.ID, d.Fields.Bool("first_match"), d.Fields.Text("period"), first, ev.Day())
		}
		count(months, ev, first)
	}
	for _, name := range []string{"2026-11", "2026-12"} {
		want := cmp.Or(months[name], emptyMonth(id, name))
		got, err := usage.Read(context.Background(), w.seen, id, name, shards)
		if err != nil {
			t.Fatalf("usage: %v", err)
		}
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("usage in the order of commits (-want +got):\n%s", d)
		}
	}
	delete(known, "")
	return len(known)
}

// delivered finds the delivery that a record was made of.
func (w *world) delivered(d store.Doc) *visitor.Event {
	for _, ev := range w.copies {
		if string(ev.ID) == d.Path.ID() && string(ev.TenantID) == d.Fields.Text("tenant_id") &&
			ev.Receipt.ReceivedAt.Equal(profile.ReceivedAt(d)) {
			return ev
		}
	}
	return nil
}

func emptyMonth(id visitor.TenantID, name string) *usage.Month {
	return &usage.Month{
		TenantID: id, Month: name, Days: map[string]usage.Counts{}, Sources: map[string]usage.Counts{},
		Pages: map[string]int64{}, Campaigns: map[string]int64{}, Custom: map[string]int64{},
	}
}

func count(months map[string]*usage.Month, ev *visitor.Event, first bool) {
	m := months[ev.Month()]
	if m == nil {
		m = emptyMonth(ev.TenantID, ev.Month())
		months[ev.Month()] = m
	}
	add := func(c usage.Counts) usage.Counts {
		c.Events++
		switch {
		case first:
			c.Identifications++
		case ev.VisitorID != "":
			c.Repeats++
		}
		return c
	}
	m.Counts = add(m.Counts)
	m.Days[ev.Day()] = add(m.Days[ev.Day()])
	m.Sources[ev.Source] = add(m.Sources[ev.Source])
}

// inAnyOrder compares what does not depend on the order with a serial run in the order of the ids: which events
// are stored, and the merged profiles.
func (w *world) inAnyOrder(t *rapid.T, id visitor.TenantID) {
	ids := map[visitor.EventID]bool{}
	for _, d := range records(t, w.seen, id) {
		ids[visitor.EventID(d.Path.ID())] = true
	}
	of := map[visitor.VisitorID][]*visitor.Event{}
	for _, ev := range w.events[id] {
		if !ids[ev.ID] {
			t.Errorf("%s: %s is not stored", id, ev.ID)
		}
		if ev.VisitorID != "" {
			of[ev.VisitorID] = append(of[ev.VisitorID], ev)
		}
	}
	want, got := map[visitor.VisitorID]visitor.Profile{}, map[visitor.VisitorID]visitor.Profile{}
	for v, evs := range of {
		want[v] = serial(evs)
	}
	for v, p := range visitors(t, w.seen, id) {
		got[v] = p.Profile
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("%s: profiles (-want +got):\n%s", id, d)
	}
}
