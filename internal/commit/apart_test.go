package commit_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store"
)

// distant is a store whose reads take their time too, as they do over a network.
type distant struct {
	store.Store
	read time.Duration
}

func (s distant) Get(ctx context.Context, p []store.Path) ([]store.Doc, error) {
	docs, err := s.Store.Get(ctx, p)
	time.Sleep(s.read)
	return docs, err
}

// p99 is the 99th percentile.
func p99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100]
}

// load is what the two processes of a run saw.
type load struct {
	quiet, hot []time.Duration // how long each event took
	conflicts  int64
}

// TestHotVisitorHurtsNobody: two processes have one visitor in every batch; the others' events are as fast as
// without it, or nearly, and the hot visitor's are all stored.
func TestHotVisitorHurtsNobody(t *testing.T) {
	t.Parallel()
	alone := twoProcesses(t, false)
	beside := twoProcesses(t, true)
	a, b := p99(alone.quiet), p99(beside.quiet)
	t.Logf("others' p99 %v without and %v beside a hot visitor, whose own is %v; %d conflicts of %d hot events",
		a, b, p99(beside.hot), beside.conflicts, len(beside.hot))
	if b > 2*a {
		t.Errorf("the others' p99 is %v beside a hot visitor, %v without", b, a)
	}
	if beside.conflicts == 0 || alone.conflicts != 0 {
		t.Errorf("%d conflicts, %d without a hot visitor: this test does not test what it should", beside.conflicts, alone.conflicts)
	}
	if worst := slices.Max(beside.hot); worst > 5*time.Second {
		t.Errorf("a hot visitor's event took %v", worst)
	}
}

const perProcess = 600

// twoProcesses commits 2.4 s of events of 40 tenants in two processes that share one store, and one visitor if hot.
func twoProcesses(t *testing.T, hot bool) (seen load) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := slow()
		var mu sync.Mutex
		var wg sync.WaitGroup
		events := map[visitor.TenantID]map[visitor.EventID]*visitor.Event{}
		var all []*commit.Committer
		submit := func(c *commit.Committer, ev *visitor.Event, into *[]time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if events[ev.TenantID] == nil {
				events[ev.TenantID] = map[visitor.EventID]*visitor.Event{}
			}
			events[ev.TenantID][ev.ID] = ev
			wg.Go(func() {
				start := time.Now()
				for c.Add(t.Context(), item(ev)) != nil { // a nacked message comes again
					time.Sleep(10 * time.Millisecond)
				}
				mu.Lock()
				defer mu.Unlock()
				*into = append(*into, time.Since(start))
			})
		}
		for p := range 2 {
			o := options(distant{s, 3 * time.Millisecond})
			o.Concurrency, o.Linger = 4, 5*time.Millisecond
			c := open(t, o)
			all = append(all, c)
			wg.Go(func() {
				for i := range perProcess { // every 4 ms one of the others, and one of the hot visitor
					ten := visitor.TenantID(fmt.Sprintf("t%d_%d", p, i%20))
					submit(c, event(visitor.EventID(fmt.Sprintf("evt_%d_%d", p, i)), ten, fmt.Sprint("ada", i%5), noon), &seen.quiet)
					if hot {
						submit(c, event(visitor.EventID(fmt.Sprintf("evt_hot_%d_%d", p, i)), "t_hot", "hot", noon), &seen.hot)
					}
					time.Sleep(4 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		for _, c := range all {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
			seen.conflicts += c.Stats().Conflicts
		}
		delete(events, "t_hot") // of more records than one query lists
		for ten, of := range events {
			checkExact(t, s, ten, of)
		}
		if m := month(t, s, "t_hot"); int(m.Events) != len(seen.hot) || hot && (m.Identifications != 1 || len(seen.hot) != 2*perProcess) {
			t.Errorf("%d hot events, usage %+v", len(seen.hot), m.Counts)
		}
	})
	return seen
}

// company lists the commits so far that wrote a document with this in its path, by whether they wrote those of
// other tenants too.
type company struct {
	mu            sync.Mutex
	alone, others int
}

func (c *company) note(w []store.Write, path, own string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !touches(w, path) {
		return
	}
	for i := range w {
		if !touches(w[i:i+1], own) {
			c.others++
			return
		}
	}
	c.alone++
}

func (c *company) take() (alone, others int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	alone, others = c.alone, c.others
	c.alone, c.others = 0, 0
	return alone, others
}

// TestHotVisitorTravelsAlone: from its first conflict on, for a minute; its events share a commit.
func TestHotVisitorTravelsAlone(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		events := map[visitor.EventID]*visitor.Event{}
		n := 0
		hot := func() []*commit.Item {
			var items []*commit.Item
			for range 5 {
				n++
				ev := event(visitor.EventID(fmt.Sprint("evt_hot", n)), "t2", "hot", noon.Add(time.Duration(n)*time.Second))
				events[ev.ID] = ev
				items = append(items, item(ev))
			}
			return items
		}
		other := open(t, options(s.Store)) // another process
		var seen company
		path := string(event("x", "t2", "hot", noon).VisitorID)
		meddle := true
		s.before = func(_ int, w []store.Write) error {
			if touches(w, path) && meddle {
				meddle = false
				noErrors(t, together(t, other, hot()...))
			}
			seen.note(w, path, "tenants/t2/")
			return nil
		}
		batch := func(quiet int) {
			_, items := neighbours(20)
			for i, it := range items {
				it.Event.ID = visitor.EventID(fmt.Sprint("evt_", quiet, "_", i))
			}
			noErrors(t, together(t, c, append(items, hot()...)...))
		}
		for i, want := range []struct {
			pause         time.Duration
			alone, others int
		}{
			{0, 1, 1},                // together, in vain; then by itself
			{0, 2, 0},                // by itself: the first event at once, then what has queued
			{30 * time.Second, 2, 0}, // still
			{31 * time.Second, 0, 1}, // forgotten
			{time.Millisecond, 0, 1}, // and stays so
		} {
			time.Sleep(want.pause)
			batch(i)
			if alone, others := seen.take(); alone != want.alone || others != want.others {
				t.Errorf("batch %d: %d commits alone, %d with others; want %d and %d", i, alone, others, want.alone, want.others)
			}
		}
		checkExact(t, s, "t2", events)
		if st := c.Stats(); st.Conflicts != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestFailingTenantTravelsAlone: after two failed batches within a minute, for a minute.
func TestFailingTenantTravelsAlone(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		var seen company
		s.before = func(_ int, w []store.Write) error {
			if touches(w, "evt_refused") {
				return code.New(code.Invalid, "commit", nil)
			}
			seen.note(w, "tenants/t2/", "tenants/t2/")
			return nil
		}
		n := 0
		batch := func(refused bool) {
			n++
			_, items := neighbours(20)
			for i, it := range items {
				it.Event.ID = visitor.EventID(fmt.Sprint("evt_", n, "_", i))
			}
			for i := range 3 {
				items = append(items, item(event(visitor.EventID(fmt.Sprint("evt_t2_", n, "_", i)), "t2", fmt.Sprint("eve", i), noon)))
			}
			if refused {
				items = append(items, item(event(visitor.EventID(fmt.Sprint("evt_refused", n)), "t2", "bad", noon)))
			}
			errs := together(t, c, items...)
			noErrors(t, errs[:23])
			if refused && code.Of(errs[23]) != code.Invalid {
				t.Errorf("refused event: %v", errs[23])
			}
		}
		for i, step := range []struct {
			pause         time.Duration
			refused       bool
			alone, others bool
		}{
			{0, true, true, true},                // first failure: split
			{61 * time.Second, true, true, true}, // that was forgotten
			{0, false, false, true},
			{30 * time.Second, true, true, true}, // second within a minute
			{0, false, true, false},
			{59 * time.Second, false, true, false},
			{2 * time.Second, false, false, true},
		} {
			time.Sleep(step.pause)
			batch(step.refused)
			alone, others := seen.take()
			if !step.refused && (alone > 0) != step.alone || !step.refused && (others > 0) != step.others {
				t.Errorf("step %d: %d commits alone, %d with others", i, alone, others)
			}
		}
		if m := month(t, s, "t2"); m.Events != int64(3*n) {
			t.Errorf("usage %+v", m.Counts)
		}
	})
}

// TestOutageBlamesNobody: when the store refuses everything, tenants stay together.
func TestOutageBlamesNobody(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		for range 3 {
			s.before = func(int, []store.Write) error { return code.New(code.Internal, "commit", nil) }
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					_ = c.Add(t.Context(), item(event(visitor.EventID(fmt.Sprint("evt_", i)), "t2", fmt.Sprint("ada", i), noon)))
				})
			}
			wg.Wait()
		}
		s.before = nil
		before := c.Stats().Commits
		_, items := neighbours(10)
		items = append(items, item(event("evt_x", "t2", "eve", noon)))
		noErrors(t, together(t, c, items...))
		if n := c.Stats().Commits - before; n != 2 {
			t.Errorf("%d commits, want 2: the filler and one batch", n)
		}
	})
}

// TestManyHotVisitors: what conflicts once does not cost commits of its own when too many do.
func TestManyHotVisitors(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		other := open(t, options(s.Store))
		events, items := neighbours(40)
		meddle := true
		s.before = func(_ int, w []store.Write) error {
			if !touches(w, "filler") && meddle {
				meddle = false
				for i := range 40 {
					ev := event(visitor.EventID(fmt.Sprint("evt_other", i)), "t1", fmt.Sprint("ada", i), noon)
					events[ev.ID] = ev
					add(t, other, item(ev))
				}
			}
			return nil
		}
		noErrors(t, together(t, c, items...))
		checkExact(t, s, "t1", events)
		before := c.Stats().Commits
		_, items = neighbours(40)
		for i, it := range items {
			it.Event.ID = visitor.EventID(fmt.Sprint("evt_again", i))
		}
		noErrors(t, together(t, c, items...))
		if n := c.Stats().Commits - before; n < 20 || n > 34 { // 32 alone, the filler, and the other eight
			t.Errorf("%d commits", n)
		}
	})
}

// contended is a store whose commits of one visitor take long and conflict, as a real one's do under contention.
type contended struct {
	store.Store
	path string
}

func (s contended) Commit(ctx context.Context, w []store.Write) error {
	if !touches(w, s.path) {
		return s.Store.Commit(ctx, w)
	}
	select {
	case <-time.After(time.Second):
		return code.New(code.Conflict, "commit", nil)
	case <-ctx.Done():
		return code.New(code.Unavailable, "commit", nil)
	}
}

// TestContentionIsNoOutage: who runs out of time over conflicts is given back, and does not make the store look away.
func TestContentionIsNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ev := event("evt_a", "t1", "ada", noon)
		o := options(contended{slow(), string(ev.VisitorID)})
		o.Timeout = 3500 * time.Millisecond
		if err := open(t, o).Add(t.Context(), item(ev)); code.Of(err) != code.Conflict {
			t.Errorf("error %v", err)
		}
	})
}
