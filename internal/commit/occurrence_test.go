package commit_test

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/usage"
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

// TestMonthsEdge: an event received 100 ms before a month ends belongs to that month, however late it is stored
// or comes again.
func TestMonthsEdge(t *testing.T) {
	received := time.Date(2026, 11, 30, 23, 59, 59, 900e6, time.UTC)
	for name, storedAfter := range map[string]time.Duration{
		"stored at once": 0, "stored after midnight": time.Second, "parked and redriven after 40 days": 40 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *memstore.Store, _ *commit.Committer) {
				ev := event("evt_a", "t1", "ada", received)
				o := options(s)
				for i, after := range []time.Duration{storedAfter, 40 * 24 * time.Hour, 40*24*time.Hour + time.Minute} {
					o.Now = func() time.Time { return received.Add(after) }
					if got := add(t, open(t, o), item(ev)); got.Duplicate != (i > 0) || got.FirstMatch != (i == 0) {
						t.Errorf("delivery %d: %+v", i, got)
					}
				}
				checkExact(t, s, "t1", map[visitor.EventID]*visitor.Event{"evt_a": ev})
				if got := records(t, s, "t1")[0].Fields.Text("period"); got != "2026-11-30" {
					t.Errorf("period %s", got)
				}
				for _, other := range []string{"2026-12", "2027-01"} {
					if m, err := usage.Read(t.Context(), s, "t1", other, shards); err != nil || m.Events != 0 {
						t.Errorf("%s: %+v, %v", other, m, err)
					}
				}
			})
		})
	}
}

// TestRepeatsInAnyOrder: a body that comes again after 10 s, 23 h and 25 h of a window of 24 h is two events, one
// of them the first match, in whatever order the processes get them. With one exception that no rule over what is
// stored can mend: when the one of 23 h is first, all others are within the window of it, and no two of them are
// known to be apart.
func TestRepeatsInAnyOrder(t *testing.T) {
	t.Parallel()
	orders := permutations([]time.Duration{0, 10 * time.Second, 23 * time.Hour, 25 * time.Hour})
	if len(orders) != 24 {
		t.Fatalf("%d orders", len(orders))
	}
	deliver := map[string]func(t *testing.T, s *memstore.Store, items []*commit.Item){
		"one process": func(t *testing.T, s *memstore.Store, items []*commit.Item) {
			c := open(t, options(s))
			for _, it := range items {
				add(t, c, it)
			}
		},
		"two processes by turns": func(t *testing.T, s *memstore.Store, items []*commit.Item) {
			two := []*commit.Committer{open(t, options(s)), open(t, options(s))}
			for i, it := range items {
				add(t, two[i%2], it)
			}
		},
	}
	for how, run := range deliver {
		for _, after := range orders {
			t.Run(fmt.Sprint(how, " ", after), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					want := 2
					if after[0] == 23*time.Hour {
						want = 1
					}
					if ids := repeated(t, slow(), run, 24*time.Hour, after); len(ids) != want {
						t.Errorf("%d events, want %d", len(ids), want)
					}
				})
			})
		}
	}
}

func permutations[T any](of []T) (all [][]T) {
	if len(of) == 0 {
		return [][]T{nil}
	}
	for i := range of {
		for _, rest := range permutations(slices.Delete(slices.Clone(of), i, i+1)) {
			all = append(all, append([]T{of[i]}, rest...))
		}
	}
	return all
}

// TestRepeatsAtOnce delivers those bodies to four processes at the same moment, each of them twice.
func TestRepeatsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := slow()
		var mu sync.Mutex
		var wg sync.WaitGroup
		ids := map[visitor.EventID]bool{}
		stored := 0
		for i, after := range []time.Duration{0, 10 * time.Second, 25 * time.Hour, 25*time.Hour + 10*time.Second} {
			for range 2 {
				c := open(t, options(s))
				wg.Go(func() {
					time.Sleep(time.Duration(i%2) * time.Millisecond)
					it := item(body(after))
					add(t, c, it)
					mu.Lock()
					defer mu.Unlock()
					ids[it.Result.ID] = true
					if !it.Result.Duplicate {
						stored++
					}
				})
			}
		}
		wg.Wait()
		if m := month(t, s, "t1"); len(ids) != 2 || stored != 2 || m.Events != 2 || m.Identifications != 1 {
			t.Errorf("%d ids, %d stored, usage %+v; want 2 events, one of them the first", len(ids), stored, m.Counts)
		}
	})
}
