package commit_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

// troubled is a store whose commits and reads go wrong as a test says.
type troubled struct {
	store.Store
	turn    chan struct{} // one commit or read at a time; a mutex would stop a bubble's clock
	commits int
	// before and after are asked at the nth commit, from 1, and may fail it: not applied, or applied.
	before, after func(n int, w []store.Write) error
	get           func() error
}

func (s *troubled) Commit(ctx context.Context, w []store.Write) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.commits++
	if s.before != nil {
		if err := s.before(s.commits, w); err != nil {
			return err
		}
	}
	if err := s.Store.Commit(ctx, w); err != nil {
		return err
	}
	if s.after != nil {
		return s.after(s.commits, w)
	}
	return nil
}

func (s *troubled) Get(ctx context.Context, p []store.Path) ([]store.Doc, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.get != nil {
		if err := s.get(); err != nil {
			return nil, err
		}
	}
	return s.Store.Get(ctx, p)
}

// onTroubled runs a test in virtual time on a troubled store.
func onTroubled(t *testing.T, test func(t *testing.T, s *troubled, c *commit.Committer)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &troubled{Store: slow(), turn: make(chan struct{}, 1)}
		test(t, s, open(t, options(s)))
	})
}

func neighbours(n int) (map[visitor.EventID]*visitor.Event, []*commit.Item) {
	events, items := map[visitor.EventID]*visitor.Event{}, []*commit.Item(nil)
	for i := range n {
		ev := event(visitor.EventID(fmt.Sprint("evt_", i)), "t1", fmt.Sprint("ada", i%40), noon.Add(time.Duration(i)*time.Minute))
		events[ev.ID] = ev
		items = append(items, item(ev))
	}
	return events, items
}

// TestPoisonIsAlone: an event that the store refuses does not take its neighbours along.
func TestPoisonIsAlone(t *testing.T) {
	huge := strings.Repeat("x", store.MaxDocument)
	tests := []struct {
		name string
		want code.Code
		bad  func() *commit.Item
	}{
		{"not UTF-8", code.Invalid, func() *commit.Item {
			ev := event("evt_bad", "t1", "ada1", noon)
			ev.SourceEventID = "\xff"
			return item(ev)
		}},
		{"too large", code.TooLarge, func() *commit.Item {
			ev := event("evt_bad", "t1", "ada1", noon)
			ev.Person.Title = huge
			return item(ev)
		}},
		{"forbidden event id", code.Invalid, func() *commit.Item { return item(event("evt/bad", "t1", "ada1", noon)) }},
		{"forbidden visitor id", code.Invalid, func() *commit.Item {
			ev := event("evt_bad", "t1", "ada1", noon)
			ev.VisitorID = "a/b"
			return item(ev)
		}},
		{"forbidden counter", code.Invalid, func() *commit.Item {
			return item(event("evt_bad", "t1", "", noon), processor.Count{Name: "__x__", N: 1})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
				events, items := neighbours(99)
				items = append(items[:50:50], append([]*commit.Item{tt.bad()}, items[50:]...)...)
				errs := together(t, c, items...)
				if code.Of(errs[50]) != tt.want {
					t.Errorf("poison: %v, want %v", errs[50], tt.want)
				}
				if errs[50] != nil && strings.Contains(errs[50].Error(), "\xff") {
					t.Error("the error quotes its input")
				}
				noErrors(t, append(errs[:50:50], errs[51:]...))
				checkExact(t, s, "t1", events)
			})
		})
	}
}

// TestDuplicateBesidePoison: what was found to be stored is done, whatever happens to the rest of its batch.
func TestDuplicateBesidePoison(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		add(t, open(t, options(s)), item(event("evt_a", "t1", "ada", noon)))
		again := item(event("evt_a", "t1", "ada", noon))
		s.before = func(_ int, w []store.Write) error {
			if w[0].Path.Parent().Parent() != "tenants/filler" {
				return code.New(code.Denied, "commit", nil)
			}
			return nil
		}
		errs := together(t, c, item(event("evt_b", "t1", "eve", noon)), again, item(event("evt_c", "t1", "ada", noon)))
		if code.Of(errs[0]) != code.Denied || errs[1] != nil || code.Of(errs[2]) != code.Denied {
			t.Errorf("errors %v", errs)
		}
		if st := c.Stats(); !again.Result.Duplicate || st.Duplicates != 1 {
			t.Errorf("result %+v, stats %+v", again.Result, st)
		}
	})
}

// TestTooMuchTogether: each event is in order, all of them are too much for one Commit.
func TestTooMuchTogether(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		events, items := neighbours(20)
		for _, it := range items {
			it.Event.Person.Title = strings.Repeat("x", 200<<10) // more than Bytes says
		}
		noErrors(t, together(t, c, items...))
		checkExact(t, s, "t1", events)
	})
}

func TestInternalErrorIsTriedTwiceThenSplit(t *testing.T) {
	internal := code.New(code.Internal, "commit", nil)
	t.Run("once", func(t *testing.T) {
		onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
			events, items := neighbours(16)
			s.before = func(n int, _ []store.Write) error { // the filler is the first
				if n == 2 {
					return internal
				}
				return nil
			}
			noErrors(t, together(t, c, items...))
			if s.commits != 3 {
				t.Errorf("%d commits, want 3: the whole again", s.commits)
			}
			checkExact(t, s, "t1", events)
		})
	})
	t.Run("one event to blame", func(t *testing.T) {
		onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
			events, items := neighbours(16)
			s.before = func(_ int, w []store.Write) error {
				for i := range w {
					if w[i].Path.ID() == "evt_5" {
						return internal
					}
				}
				return nil
			}
			errs := together(t, c, items...)
			if code.Of(errs[5]) != code.Internal {
				t.Errorf("the event to blame: %v", errs[5])
			}
			errs[5] = nil
			noErrors(t, errs)
			delete(events, "evt_5")
			checkExact(t, s, "t1", events)
			if s.commits != 1+2*5+4 { // filler; 16, 8, 4, 2 and 1 events twice each; the four good halves
				t.Errorf("%d commits", s.commits)
			}
		})
	})
	t.Run("but applied", func(t *testing.T) {
		onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
			events, items := neighbours(16)
			s.after = func(n int, _ []store.Write) error {
				if n == 2 {
					return internal
				}
				return nil
			}
			noErrors(t, together(t, c, items...))
			checkExact(t, s, "t1", events)
		})
	})
}

// TestOutage: an unavailable store is tried until the deadline; what is tried again later is exact, whether
// or not the last try was applied.
func TestOutage(t *testing.T) {
	away := func(int, []store.Write) error { return code.New(code.Unavailable, "commit", nil) }
	tests := []struct {
		name string
		set  func(*troubled)
		heal func(*troubled)
		want code.Code
	}{
		{"not applied", func(s *troubled) { s.before = away }, func(s *troubled) { s.before = nil }, code.Unavailable},
		{"applied, response lost", func(s *troubled) { s.after = away }, func(s *troubled) { s.after = nil }, code.OK},
		{
			"cannot be read", func(s *troubled) { s.get = func() error { return code.New(code.Unavailable, "get", nil) } },
			func(s *troubled) { s.get = nil }, code.Unavailable,
		},
		{
			"contention without end", func(s *troubled) {
				s.before = func(int, []store.Write) error { return code.New(code.Conflict, "commit", nil) }
			}, func(s *troubled) { s.before = nil }, code.Conflict,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
				events, items := neighbours(10)
				tt.set(s)
				var wg sync.WaitGroup
				errs := make([]error, len(items))
				start := time.Now()
				for i, it := range items {
					wg.Go(func() { errs[i] = c.Add(t.Context(), it) })
				}
				wg.Wait()
				if took := time.Since(start); took > 3*options(s).Timeout {
					t.Errorf("took %v", took)
				}
				for i, err := range errs { // of a lost response reading shows that it was applied after all
					if code.Of(err) != tt.want {
						t.Errorf("item %d: %v", i, err)
					}
				}
				tt.heal(s)
				for _, ev := range events {
					add(t, c, item(ev))
				}
				checkExact(t, s, "t1", events)
			})
		})
	}
}

// TestHangingStore: the batch's deadline holds although its callers have none.
func TestHangingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := options(memstore.New(memstore.Options{CommitDelay: time.Hour}))
		c := open(t, o)
		start := time.Now()
		err := c.Add(t.Context(), item(event("evt_a", "t1", "ada", noon)))
		if code.Of(err) != code.Unavailable || !strings.Contains(err.Error(), "not committed in time") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != o.Timeout {
			t.Errorf("took %v, want %v", took, o.Timeout)
		}
	})
}

func TestOtherErrorsAreReturnedAtOnce(t *testing.T) {
	for _, want := range []code.Code{code.Denied, code.NotFound, code.Unknown} {
		t.Run(want.String(), func(t *testing.T) {
			onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
				s.before = func(int, []store.Write) error { return code.New(want, "commit", nil) }
				if err := c.Add(t.Context(), item(event("evt_a", "t1", "ada", noon))); code.Of(err) != want {
					t.Errorf("error %v", err)
				}
				if s.commits != 1 {
					t.Errorf("%d tries", s.commits)
				}
			})
		})
	}
}

// TestErrorWhileLookingForDuplicates covers the reads of later occurrences.
func TestErrorWhileLookingForDuplicates(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		add(t, c, item(body(0)))
		for fail := 1; fail <= 3; fail++ {
			gets := 0
			s.get = func() error {
				if gets++; gets == fail {
					return code.New(code.Unavailable, "get", nil)
				}
				return nil
			}
			c := open(t, options(s)) // cold: finds out by the visitor
			if got := add(t, c, item(body(25*time.Hour))); got.Duplicate != (fail > 1) || got.ID == "evt_body" {
				t.Errorf("get %d failed: %+v", fail, got)
			}
		}
		if m := month(t, s, "t1"); m.Events != 2 || m.Identifications != 1 {
			t.Errorf("usage %+v", m.Counts)
		}
	})
}
