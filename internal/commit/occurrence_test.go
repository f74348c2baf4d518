package commit_test

import (
	"cmp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store/memstore"
)

// body is an event whose id was made from its body, received some time after noon.
func body(after time.Duration) *visitor.Event { return repeatable(after, 24*time.Hour) }

// repeatable is body with another retry window of its source.
func repeatable(after, window time.Duration) *visitor.Event {
	ev := event("evt_body", "t1", "ada", noon.Add(after))
	ev.RepeatAfterSeconds = int64(window / time.Second)
	return ev
}

// repeats are receipts of one body and how many events they are.
var repeats = []struct {
	name   string
	window time.Duration
	after  []time.Duration
	want   int
	// backwards is how many they are when the last comes first, where that differs. The id of an occurrence hashes a
	// day, so beside the first one stored there is at most one on each day; which one is first depends on the order.
	backwards int
}{
	{"after 10 s", 24 * time.Hour, []time.Duration{0, 10 * time.Second}, 1, 0},
	{"after 23 h", 24 * time.Hour, []time.Duration{0, 23 * time.Hour}, 1, 0},
	{"after 24 h to the second", 24 * time.Hour, []time.Duration{0, 24 * time.Hour}, 1, 0},
	{"after 25 h", 24 * time.Hour, []time.Duration{0, 25 * time.Hour}, 2, 0},
	{"just across midnight", 24 * time.Hour, []time.Duration{12*time.Hour - 5*time.Second, 12*time.Hour + 5*time.Second}, 1, 0},
	{"a later occurrence and its retry on the same day", 24 * time.Hour, []time.Duration{0, 25 * time.Hour, 26 * time.Hour}, 2, 0},
	{"a later occurrence and its retry across midnight", 24 * time.Hour, []time.Duration{0, 36*time.Hour - 5*time.Second, 36*time.Hour + 5*time.Second}, 2, 0},
	{"three days in a row", 24 * time.Hour, []time.Duration{0, 25 * time.Hour, 50 * time.Hour}, 3, 0},
	{"an hour's window, to the second", time.Hour, []time.Duration{0, time.Hour}, 1, 0},
	{"an hour's window, 3 h", time.Hour, []time.Duration{0, 3 * time.Hour}, 2, 0},
	{"an hour's window, every 3 h of one day", time.Hour, []time.Duration{0, 3 * time.Hour, 6 * time.Hour, 9 * time.Hour}, 2, 0},
	{"an hour's window, just across midnight", time.Hour, []time.Duration{11*time.Hour + 30*time.Minute, 12*time.Hour + 15*time.Minute}, 1, 0},
	{"an hour's window, a later occurrence just across midnight", time.Hour,
		[]time.Duration{6 * time.Hour, 11*time.Hour + 30*time.Minute, 12*time.Hour + 15*time.Minute}, 2, 0},
	{"an hour's window, every 3 h across midnight", time.Hour, []time.Duration{11 * time.Hour, 14 * time.Hour, 17 * time.Hour}, 2, 3},
	{"an hour's window, every 3 h of two days", time.Hour,
		[]time.Duration{6 * time.Hour, 9 * time.Hour, 12 * time.Hour, 15 * time.Hour, 18 * time.Hour}, 3, 0},
}

func TestRepeatedBody(t *testing.T) {
	t.Parallel()
	deliver := map[string]func(t *testing.T, s *memstore.Store, items []*commit.Item){
		"one process": func(t *testing.T, s *memstore.Store, items []*commit.Item) {
			c := open(t, options(s))
			for _, it := range items {
				add(t, c, it)
			}
		},
		"each another process": func(t *testing.T, s *memstore.Store, items []*commit.Item) {
			for _, it := range items {
				add(t, open(t, options(s)), it)
			}
		},
		"one batch": func(t *testing.T, s *memstore.Store, items []*commit.Item) {
			noErrors(t, together(t, open(t, options(s)), items...))
		},
	}
	for _, tt := range repeats {
		for how, run := range deliver {
			for _, backwards := range []bool{false, true} {
				t.Run(tt.name+"/"+how, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						after, want := slices.Clone(tt.after), tt.want
						if backwards {
							slices.Reverse(after)
							want = cmp.Or(tt.backwards, want)
						}
						s := slow()
						ids := repeated(t, s, run, tt.window, after)
						if len(ids) != want {
							t.Errorf("%d events, want %d", len(ids), want)
						}
					})
				})
			}
		}
	}
}

// repeated delivers bodies, and each of them again, and checks that what is stored is whole. It returns the
// ids that they got.
func repeated(
	t *testing.T, s *memstore.Store, run func(*testing.T, *memstore.Store, []*commit.Item), window time.Duration, after []time.Duration,
) map[visitor.EventID]bool {
	t.Helper()
	ids := map[visitor.EventID]bool{}
	of := map[time.Duration]visitor.EventID{}
	for round := range 3 { // deliver, redeliver, redeliver
		var items []*commit.Item
		for _, d := range after {
			items = append(items, item(repeatable(d, window)))
		}
		run(t, s, items)
		for i, it := range items {
			ids[it.Result.ID] = true
			if round == 0 {
				of[after[i]] = it.Result.ID
			} else if !it.Result.Duplicate || of[after[i]] != it.Result.ID {
				t.Errorf("redelivered: %+v, was %s", it.Result, of[after[i]])
			}
		}
	}
	docs := records(t, s, "t1")
	first := 0
	for _, d := range docs {
		if !ids[visitor.EventID(d.Path.ID())] {
			t.Errorf("record %s is nobody's", d.Path.ID())
		}
		if d.Fields.Bool("first_match") {
			first++
		}
	}
	m := month(t, s, "t1")
	if len(docs) != len(ids) || first != 1 || m.Events != int64(len(ids)) || m.Identifications != 1 || m.Repeats != int64(len(ids)-1) {
		t.Errorf("%d records of %d events, %d first matches, usage %+v", len(docs), len(ids), first, m.Counts)
	}
	for _, v := range visitors(t, s, "t1") {
		if v.Events != int64(len(ids)) {
			t.Errorf("visitor has %d events, want %d", v.Events, len(ids))
		}
	}
	return ids
}

// TestVendorIDIsForEver: what the vendor named is one event however late it comes again.
func TestVendorIDIsForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memstore.Store, c *commit.Committer) {
		add(t, c, item(event("evt_a", "t1", "ada", noon)))
		for range 2 {
			if got := add(t, c, item(event("evt_a", "t1", "ada", noon.AddDate(0, 0, 20)))); !got.Duplicate {
				t.Errorf("result %+v", got)
			}
			c = open(t, options(s))
		}
		checkExact(t, s, "t1", map[visitor.EventID]*visitor.Event{"evt_a": event("evt_a", "t1", "ada", noon)})
	})
}

// TestOccurrencesOfManyProcesses commits the occurrences of one body at the same time.
func TestOccurrencesOfManyProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := slow()
		done := make(chan *commit.Item)
		const days, copies = 4, 3
		for d := range days {
			for range copies {
				c := open(t, options(s))
				go func() {
					it := item(body(time.Duration(d) * 25 * time.Hour))
					add(t, c, it)
					done <- it
				}()
			}
		}
		ids, stored := map[visitor.EventID]bool{}, 0
		for range days * copies {
			it := <-done
			ids[it.Result.ID] = true
			if !it.Result.Duplicate {
				stored++
			}
		}
		if m := month(t, s, "t1"); len(ids) != days || stored != days || m.Events != days || m.Identifications != 1 {
			t.Errorf("%d ids, %d stored, usage %+v; want %d", len(ids), stored, m.Counts, days)
		}
	})
}
