package commit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/batch"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store/memstore"
)

// inBubble runs a test in virtual time on a slow store.
func inBubble(t *testing.T, test func(t *testing.T, s *memstore.Store, c *commit.Committer)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := slow()
		c := open(t, options(s))
		test(t, s, c)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestOneEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		ev := event("evt_a", "t1", "ada", noon)
		want := commit.Result{ID: "evt_a", FirstMatch: true}
		it := item(ev)
		it.Raw, it.RawEncoding = []byte{1, 2, 3}, "zstd"
		if got := add(t, c, it); got != want {
			t.Errorf("result %+v, want %+v", got, want)
		}
		if got := add(t, c, item(event("evt_b", "t1", "ada", noon.Add(-time.Hour)))); got.FirstMatch || got.Duplicate {
			t.Errorf("second event: %+v", got)
		}
		checkExact(t, s, "t1", map[visitor.EventID]*visitor.Event{"evt_a": ev, "evt_b": event("evt_b", "t1", "ada", noon.Add(-time.Hour))})
		d := records(t, s, "t1")[0]
		if d.Path.ID() != "evt_a" || string(d.Fields.Bytes("raw")) != "\x01\x02\x03" || !d.Fields.Time("processed_at").Equal(noon) ||
			!d.Fields.Time("expire_at").Equal(noon.AddDate(1, 0, 0)) {
			t.Errorf("record %v", d)
		}
	})
}

func TestDuplicatesInOneBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		ev := event("evt_a", "t1", "ada", noon)
		items := []*commit.Item{item(ev), item(event("evt_a", "t1", "ada", noon)), item(event("evt_a", "t2", "ada", noon)), item(ev)}
		noErrors(t, together(t, c, items...))
		want := []commit.Result{
			{ID: "evt_a", FirstMatch: true}, {ID: "evt_a", Duplicate: true}, {ID: "evt_a", FirstMatch: true}, {ID: "evt_a", Duplicate: true},
		}
		for i := range items {
			if items[i].Result != want[i] {
				t.Errorf("item %d: %+v, want %+v", i, items[i].Result, want[i])
			}
		}
		for _, id := range []visitor.TenantID{"t1", "t2"} {
			checkExact(t, s, id, map[visitor.EventID]*visitor.Event{"evt_a": event("evt_a", id, "ada", noon)})
		}
		if st := c.Stats(); st.Events != 3 || st.Duplicates != 2 || st.Conflicts != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestDuplicatesAcrossBatches(t *testing.T) {
	tests := []struct {
		name      string
		who       string
		cold      bool // the duplicate comes to another process
		reads     int64
		conflicts int64
	}{
		{"known to this process", "ada", false, 0, 0},
		{"known to the visitor", "ada", true, 1, 0},
		{"without visitor", "", true, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
				ev := event("evt_a", "t1", tt.who, noon)
				add(t, c, item(ev))
				if tt.cold {
					c = open(t, options(s))
				}
				before := c.Stats()
				if got, want := add(t, c, item(ev)), (commit.Result{ID: "evt_a", Duplicate: true}); got != want {
					t.Errorf("result %+v, want %+v", got, want)
				}
				checkExact(t, s, "t1", map[visitor.EventID]*visitor.Event{"evt_a": ev})
				st := c.Stats()
				if st.Reads-before.Reads != tt.reads || st.Conflicts != tt.conflicts || st.Commits != before.Commits || st.Duplicates != 1 {
					t.Errorf("stats %+v, before %+v", st, before)
				}
			})
		})
	}
}

// TestCost is a promise: two writes and one read per event, and one counter write per tenant and Commit.
func TestCost(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		var items []*commit.Item
		for i := range 99 {
			who := fmt.Sprint("ada", i)
			items = append(items, item(event(visitor.EventID(fmt.Sprint("evt_", i)), visitor.TenantID(fmt.Sprint("t", i%3)), who, noon)))
		}
		noErrors(t, together(t, c, items...))
		// The filler has a record and a counter document, but no visitor.
		want := commit.Stats{Commits: 2, Writes: 2 + 2*99 + 3, Reads: 99, Events: 100}
		if d := gocmp.Diff(want, c.Stats()); d != "" {
			t.Errorf("stats (-want +got):\n%s", d)
		}
		if d := gocmp.Diff(memstore.Stats{Commits: want.Commits, Writes: want.Writes, Reads: want.Reads}, s.Stats()); d != "" {
			t.Errorf("the store says (-want +got):\n%s", d)
		}
	})
}

func TestOneVisitorOneReadPerBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		events := map[visitor.EventID]*visitor.Event{}
		var items []*commit.Item
		for i := range 20 {
			ev := event(visitor.EventID(fmt.Sprint("evt_", i)), "t1", "ada", noon.Add(-time.Duration(i)*time.Second))
			events[ev.ID] = ev
			items = append(items, item(ev))
		}
		noErrors(t, together(t, c, items...))
		checkExact(t, s, "t1", events)
		if st := c.Stats(); st.Reads != 1 || st.Commits != 2 || st.Writes != 2+20+1+1 {
			t.Errorf("stats %+v", st)
		}
		for i, it := range items {
			if it.Result.FirstMatch != (i == 19) { // the earliest event
				t.Errorf("event %d: %+v", i, it.Result)
			}
		}
	})
}

func TestEffects(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		score := processor.AddScore{Name: "fit", Points: 5}
		firstOnly := processor.Count{Name: "new", N: 1, When: processor.IfFirstMatch}
		always := processor.Count{Name: "seen", N: 2}
		noErrors(t, together(t, c,
			item(event("evt_a", "t1", "ada", noon), score, firstOnly, always),
			item(event("evt_b", "t1", "ada", noon), score, firstOnly, always, processor.Record{}),
			item(event("evt_c", "t1", "", noon), score, firstOnly, always, processor.MergeVisitor{}),
			item(event("evt_d", "t1", "eve", noon), processor.Meter{}, firstOnly),
		))
		m := month(t, s, "t1")
		if d := gocmp.Diff(map[string]int64{"new": 1, "seen": 6}, m.Custom); d != "" {
			t.Errorf("custom counters (-want +got):\n%s", d)
		}
		if m.Events != 1 || m.Identifications != 0 || m.Repeats != 0 {
			t.Errorf("usage %+v: an event whose visitor is not kept is neither", m.Counts)
		}
		vs := visitors(t, s, "t1")
		if len(vs) != 1 {
			t.Fatalf("%d visitors, want 1", len(vs))
		}
		for _, v := range vs {
			if v.Scores["fit"] != 10 || v.Events != 2 {
				t.Errorf("visitor %+v", v.Profile)
			}
		}
		for _, d := range records(t, s, "t1") {
			if bare := d.Fields.Get("event") == nil; bare == (d.Path.ID() == "evt_b") {
				t.Errorf("%s: bare = %v", d.Path.ID(), bare)
			}
		}
	})
}

func TestRedeliveredEffectsCountOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		for range 3 {
			add(t, c, item(event("evt_a", "t1", "", noon), processor.Count{Name: "seen", N: 1}))
			c = open(t, options(s))
		}
		if got := month(t, s, "t1").Custom["seen"]; got != 1 {
			t.Errorf("counted %d times", got)
		}
	})
}

func TestAddReturnsOnlyAfterTheCommit(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		done := make(chan error, 1)
		go func() { done <- c.Add(t.Context(), item(event("evt_a", "t1", "ada", noon))) }()
		synctest.Wait() // it is in the store's delay
		select {
		case err := <-done:
			t.Fatalf("returned before the commit: %v", err)
		default:
		}
		if n := s.Stats().Commits; n != 0 {
			t.Fatalf("%d commits", n)
		}
		if err := <-done; err != nil || s.Stats().Commits != 1 {
			t.Errorf("%v, %d commits", err, s.Stats().Commits)
		}
	})
}

// TestCallerGoesAway: what was begun is finished, so that a redelivery finds it done.
func TestCallerGoesAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		ev := event("evt_a", "t1", "ada", noon)
		go func() { done <- c.Add(ctx, item(ev)) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkExact(t, s, "t1", map[visitor.EventID]*visitor.Event{"evt_a": ev})
		if err := c.Add(t.Context(), item(ev)); !errors.Is(err, batch.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestCommittersShareAHotVisitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := slow()
		events := map[visitor.EventID]*visitor.Event{}
		var wg sync.WaitGroup
		var all []*commit.Committer
		for p := range 3 {
			c := open(t, options(s))
			all = append(all, c)
			for i := range 10 {
				ev := event(visitor.EventID(fmt.Sprintf("evt_%d_%d", p, i)), "t1", "ada", noon.Add(time.Duration(i)*time.Minute))
				events[ev.ID] = ev
				wg.Go(func() { add(t, c, item(ev)) })
			}
		}
		wg.Wait()
		checkExact(t, s, "t1", events)
		var conflicts int64
		for _, c := range all {
			conflicts += c.Stats().Conflicts
		}
		if conflicts == 0 {
			t.Error("no conflicts: this test does not test what it should")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	if _, err := commit.New(commit.Options{Linger: -1}); err == nil {
		t.Error("nothing reported")
	} else {
		for _, want := range []string{"store and now", "max events", "max bytes", "concurrency", "timeout", "shards", "cache size", "retention", "linger"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not name %q", err, want)
			}
		}
	}
	bad := map[string]func(*commit.Options){
		"max events": func(o *commit.Options) { o.MaxEvents = 151 },
		"max bytes":  func(o *commit.Options) { o.MaxBytes = 2 << 20 },
		"linger":     func(o *commit.Options) { o.Linger = time.Second },
	}
	for want, change := range bad {
		o := options(memstore.New(memstore.Options{}))
		change(&o)
		if _, err := commit.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}
