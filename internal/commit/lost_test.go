package commit_test

import (
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store"
)

// TestLostResponse: what was applied without an answer is told as what it is, and counted once: the events are
// stored, the first one is its visitor's first match. What another process stored meanwhile is a duplicate.
func TestLostResponse(t *testing.T) {
	for _, c := range []code.Code{code.Unavailable, code.Internal} {
		t.Run(c.String(), func(t *testing.T) {
			onTroubled(t, func(t *testing.T, s *troubled, _ *commit.Committer) {
				o := options(s)
				o.Now = func() time.Time { return noon.Add(time.Nanosecond) } // the store keeps microseconds
				cm := open(t, o)
				ev := event("evt_other", "t1", "eve", noon)
				elsewhere := options(s.Store)
				elsewhere.Now = func() time.Time { return noon.Add(time.Second) }
				s.before = func(n int, _ []store.Write) error {
					if n == 2 { // the filler is the first
						add(t, open(t, elsewhere), item(ev))
					}
					return nil
				}
				s.after = func(n int, _ []store.Write) error {
					if n == 3 {
						return code.New(c, "commit", nil)
					}
					return nil
				}
				occurrence := item(body(25 * time.Hour)) // gets an id of its own on the way
				add(t, open(t, elsewhere), item(body(0)))
				items := []*commit.Item{
					item(event("evt_a", "t1", "bob", noon)), item(event("evt_b", "t1", "bob", noon.Add(time.Minute))),
					item(event("evt_a", "t1", "bob", noon)), item(event("evt_c", "t1", "", noon)), item(ev), occurrence,
				}
				noErrors(t, together(t, cm, items...))
				later := body(25 * time.Hour)
				want := []commit.Result{
					{ID: "evt_a", FirstMatch: true}, {ID: "evt_b"}, {ID: "evt_a", Duplicate: true}, {ID: "evt_c"},
					{ID: "evt_other", Duplicate: true}, {ID: later.ID.Occurrence(later.Day())},
				}
				for i := range items {
					if items[i].Result != want[i] {
						t.Errorf("item %d: %+v, want %+v", i, items[i].Result, want[i])
					}
				}
				if st := cm.Stats(); st.Events != 1+4 || st.Duplicates != 2 {
					t.Errorf("stats %+v", st)
				}
				if m := month(t, s, "t1"); m.Events != 6 || m.Identifications != 3 || m.Repeats != 2 {
					t.Errorf("usage %+v", m.Counts)
				}
			})
		})
	}
}

// TestLostResponseThenRedelivered: a try that ended without knowing leaves nothing to count again.
func TestLostResponseThenRedelivered(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		ev := event("evt_a", "t1", "ada", noon)
		gone := code.New(code.Denied, "get", nil)
		s.after = func(int, []store.Write) error {
			s.get = func() error { return gone }
			return code.New(code.Unavailable, "commit", nil)
		}
		if err := c.Add(t.Context(), item(ev)); code.Of(err) != code.Denied {
			t.Errorf("error %v", err)
		}
		s.get, s.after = nil, nil
		if got, want := add(t, c, item(ev)), (commit.Result{ID: "evt_a", Duplicate: true}); got != want {
			t.Errorf("result %+v, want %+v", got, want)
		}
		checkExact(t, s, "t1", map[visitor.EventID]*visitor.Event{"evt_a": ev})
	})
}
