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
	"go.uber.org/goleak"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

const shards = 3

func options(s store.Store) commit.Options {
	return commit.Options{
		Store: s, Now: func() time.Time { return noon }, MaxEvents: 100, MaxBytes: 1500 << 10,
		Linger: 20 * time.Millisecond, Concurrency: 1, Timeout: 20 * time.Second, Shards: shards,
		CacheSize: 1000, Retention: 365 * 24 * time.Hour,
	}
}

// slow is a store that takes its time, which in a synctest bubble costs none: so batches fill.
func slow() *memstore.Store {
	return memstore.New(memstore.Options{CommitDelay: 10 * time.Millisecond})
}

func open(t tb, o commit.Options) *commit.Committer {
	t.Helper()
	c, err := commit.New(o)
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	return c
}

// everything is what the built-in processor asks for.
var everything = []processor.Effect{processor.Record{}, processor.Meter{}, processor.MergeVisitor{}}

func event(id visitor.EventID, of visitor.TenantID, who string, at time.Time) *visitor.Event {
	ev := &visitor.Event{
		Schema: visitor.Schema, ID: id, Type: visitor.TypeVisitorIdentified, TenantID: of, Source: "midbound",
		Origin: visitor.OriginWebhook, IdentifiedAt: at, Receipt: visitor.Receipt{ReceivedAt: at},
		Person: visitor.Person{Title: "title " + string(id)},
	}
	if who != "" {
		ev.Person.Emails = []visitor.Email{{Address: who + "@example.com"}}
	}
	ev.VisitorID = ev.Visitor()
	return ev
}

func item(ev *visitor.Event, effects ...processor.Effect) *commit.Item {
	if effects == nil {
		effects = everything
	}
	return &commit.Item{Event: ev, Tenant: &tenant.Tenant{ID: ev.TenantID}, Effects: effects, Bytes: 1000}
}

func add(t tb, c *commit.Committer, it *commit.Item) commit.Result {
	t.Helper()
	if err := c.Add(context.Background(), it); err != nil {
		t.Fatalf("add: %v", err)
	}
	return it.Result
}

// together adds items so that they share one batch, in this order, and returns their errors. It needs a
// synctest bubble and a committer of one Commit at a time on a slow store.
func together(t *testing.T, c *commit.Committer, items ...*commit.Item) []error {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { add(t, c, filler()) })
	synctest.Wait() // the filler is under way: what comes now gathers behind it
	errs := make([]error, len(items))
	for i, it := range items {
		wg.Go(func() { errs[i] = c.Add(t.Context(), it) })
		synctest.Wait()
	}
	wg.Wait()
	return errs
}

var fillers atomic.Int64

func filler() *commit.Item {
	return item(event(visitor.EventID(fmt.Sprint("evt_filler", fillers.Add(1))), "filler", "", noon))
}

func noErrors(t tb, errs []error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Errorf("item %d: %v", i, err)
		}
	}
}

func records(t tb, s store.Store, id visitor.TenantID) []store.Doc {
	t.Helper()
	p, err := layout.IdentificationCollection(id)
	if err != nil {
		t.Fatalf("path: %v", err)
	}
	docs, err := s.Query(context.Background(), store.Query{Collection: p, Limit: store.MaxLimit})
	if err != nil {
		t.Fatalf("query: %v", err)
	}
	return docs
}

func visitors(t tb, s store.Store, id visitor.TenantID) map[visitor.VisitorID]*profile.Visitor {
	t.Helper()
	p, err := layout.VisitorCollection(id)
	if err != nil {
		t.Fatalf("path: %v", err)
	}
	docs, err := s.Query(context.Background(), store.Query{Collection: p, Limit: store.MaxLimit})
	if err != nil {
		t.Fatalf("query: %v", err)
	}
	out := map[visitor.VisitorID]*profile.Visitor{}
	for _, d := range docs {
		out[visitor.VisitorID(d.Path.ID())] = profile.Load(d)
	}
	return out
}

func month(t tb, s store.Store, id visitor.TenantID) *usage.Month {
	t.Helper()
	m, err := usage.Read(context.Background(), s, id, "2026-11", shards)
	if err != nil {
		t.Fatalf("usage: %v", err)
	}
	return m
}

// checkExact compares a tenant's whole state with what the set of its events must give.
func checkExact(t tb, s store.Store, id visitor.TenantID, events map[visitor.EventID]*visitor.Event) {
	t.Helper()
	want := map[visitor.VisitorID][]*visitor.Event{}
	var counts usage.Counts
	for _, ev := range events {
		counts.Events++
		if ev.VisitorID != "" {
			want[ev.VisitorID] = append(want[ev.VisitorID], ev)
			counts.Repeats++
		}
	}
	counts.Identifications = int64(len(want))
	counts.Repeats -= counts.Identifications
	if d := gocmp.Diff(counts, month(t, s, id).Counts); d != "" {
		t.Errorf("%s: usage (-want +got):\n%s", id, d)
	}
	first := map[visitor.VisitorID]int{}
	docs := records(t, s, id)
	for _, d := range docs {
		if ev := events[visitor.EventID(d.Path.ID())]; ev == nil {
			t.Errorf("%s: record of no event", id)
		} else if d.Fields.Bool("first_match") {
			first[ev.VisitorID]++
		}
	}
	if len(docs) != len(events) {
		t.Errorf("%s: %d records, want %d", id, len(docs), len(events))
	}
	got := visitors(t, s, id)
	if len(got) != len(want) {
		t.Errorf("%s: %d visitors, want %d", id, len(got), len(want))
	}
	for v, evs := range want {
		if first[v] != 1 {
			t.Errorf("%s: %d first matches of one visitor", id, first[v])
		}
		if got[v] != nil {
			if d := gocmp.Diff(serial(evs), got[v].Profile); d != "" {
				t.Errorf("%s: profile (-want +got):\n%s", id, d)
			}
		}
	}
}

// serial merges events one after another.
func serial(evs []*visitor.Event) visitor.Profile {
	slices.SortFunc(evs, func(a, b *visitor.Event) int { return cmp.Compare(a.ID, b.ID) })
	v := profile.Load(store.Doc{})
	for _, ev := range evs {
		v.Merge(ev, ev.ID)
	}
	return profile.Load(store.Doc{Exists: true, Fields: v.Fields(noon)}).Profile
}
