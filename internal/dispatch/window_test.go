package dispatch

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/internal/queue"
)

// arrive enters n messages of a tenant on the main lane, each of size bytes, and returns those within the share and
// those over it; the latter are being shed.
func arrive(w *window, tenant string, n, size int) (kept, shed []*report) {
	for range n {
		r := &report{m: &queue.Message{Data: make([]byte, size)}, start: time.Now(), place: place{tenant: tenant}}
		if w.enter(r) {
			w.shed(r)
			shed = append(shed, r)
		} else {
			kept = append(kept, r)
		}
	}
	return kept, shed
}

func leave(w *window, rs []*report) {
	for _, r := range rs {
		w.leave(r)
	}
}

// TestShares fills a window of 1,000 by flooders whose messages come in turn; then the oldest leaves for each that comes.
func TestShares(t *testing.T) {
	t.Parallel()
	for flooders, want := range map[int]int{1: 500, 2: 333, 3: 250, 4: 200} {
		for _, in := range []dimension{inMessages, inBytes} {
			t.Run(fmt.Sprint(flooders, " in ", dimensionNames[in]), func(t *testing.T) {
				t.Parallel()
				w, size := newWindow(1000, 1<<40), 1
				if in == inBytes {
					w, size = newWindow(1<<40, 10_000), 10
				}
				for i := range 20_000 {
					if w.lanes[laneMain][in] >= w.max[in] {
						w.leave(w.oldest)
					}
					_, shed := arrive(w, fmt.Sprint(i%flooders), 1, size)
					for _, r := range shed {
						if r.in != in {
							t.Fatalf("shed for %s, want %s", dimensionNames[r.in], dimensionNames[in])
						}
					}
				}
				for name, held := range w.tenants {
					if n := held[in] / size; n != want {
						t.Errorf("flooder %s holds %d, want %d", name, n, want)
					}
				}
				_, shed := arrive(w, "quiet", 50, size)
				if len(shed) != 0 {
					t.Errorf("%d of 50 messages of a quiet tenant are shed", len(shed))
				}
			})
		}
	}
}

// TestFull: nothing is shed below three quarters of the window, and then until it has run down to a half.
func TestFull(t *testing.T) {
	t.Parallel()
	w := newWindow(1000, 1<<40)
	kept, shed := arrive(w, "a", 750, 1)
	if len(shed) != 1 || len(kept) != 749 {
		t.Fatalf("%d of the first 750 are shed, want the last", len(shed))
	}
	leave(w, shed)
	leave(w, kept[:248]) // 501 are left
	if _, shed = arrive(w, "a", 1, 1); len(shed) != 1 {
		t.Fatal("a window that is no longer quite full sheds nothing")
	}
	leave(w, shed)
	leave(w, kept[248:250])
	kept, shed = arrive(w, "a", 250, 1)
	if len(kept) != 250 || len(shed) != 0 {
		t.Errorf("%d of 250 are shed though the window had run down to a half", len(shed))
	}
	if _, shed = arrive(w, "b", 50, 1); len(shed) != 0 {
		t.Errorf("%d of 50 messages of a tenant within its share are shed", len(shed))
	}
}

// TestSheddingTakesNoShare: half of the slots of one flooder process and half shed, and all are outstanding.
func TestSheddingTakesNoShare(t *testing.T) {
	t.Parallel()
	w := newWindow(1000, 1<<40)
	kept, first := arrive(w, "a", 1000, 2)
	leave(w, kept[:len(kept)-500]) // it held more while the window filled
	kept = kept[len(kept)-500:]
	_, more := arrive(w, "a", 249, 2)
	if len(first)+len(more) != 500 {
		t.Fatalf("%d are being shed, want 500", len(first)+len(more))
	}
	if diff := cmp.Diff(amount{1000, 2000}, w.outstanding()[laneMain]); diff != "" {
		t.Errorf("outstanding (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(amount{500, 1000}, w.tenants["a"]); diff != "" {
		t.Errorf("of the tenant (-want +got):\n%s", diff)
	}
	w.keep(first[0]) // its publish failed
	if diff := cmp.Diff(amount{501, 1002}, w.tenants["a"]); diff != "" {
		t.Errorf("of the tenant (-want +got):\n%s", diff)
	}
	leave(w, append(append(kept, first...), more...))
	checkEmpty(t, w)
}

// TestOverflowLanesCountToNobody: only the main lane is shared out.
func TestOverflowLanesCountToNobody(t *testing.T) {
	t.Parallel()
	w := newWindow(10, 1<<40)
	var all []*report
	for range 100 {
		r := &report{m: &queue.Message{Data: []byte("xyz")}, place: place{lane: overflow(2), tenant: "a"}}
		if w.enter(r) {
			t.Fatal("a message of an overflow lane is over a share")
		}
		all = append(all, r)
	}
	var want [lanes]amount
	want[overflow(2)] = amount{100, 300}
	if diff := cmp.Diff(want, w.outstanding()); diff != "" {
		t.Errorf("outstanding (-want +got):\n%s", diff)
	}
	if len(w.tenants) != 0 {
		t.Errorf("counted to %v", w.tenants)
	}
	leave(w, all)
	checkEmpty(t, w)
}

func TestAgeIsThatOfTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10, 100)
		var rs []*report
		for range 3 {
			kept, _ := arrive(w, "a", 1, 1)
			rs = append(rs, kept...)
			time.Sleep(time.Second)
		}
		check := func(want time.Duration) {
			t.Helper()
			if got := w.age(); got != want {
				t.Errorf("age %v, want %v", got, want)
			}
		}
		check(3 * time.Second)
		w.leave(rs[1])
		check(3 * time.Second)
		w.leave(rs[0])
		check(time.Second)
		w.leave(rs[2])
		check(0)
		checkEmpty(t, w)
	})
}

// TestWindowBalances: whatever comes and goes in whatever order, the counts are those of what is there.
func TestWindowBalances(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWindow(rapid.IntRange(1, 40).Draw(t, "messages"), rapid.IntRange(1, 400).Draw(t, "bytes"))
		var here []*report
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if len(here) > 0 && rapid.Bool().Draw(t, "leave") {
				i := rapid.IntRange(0, len(here)-1).Draw(t, "which")
				if here[i].shedding && rapid.Bool().Draw(t, "keep") {
					w.keep(here[i])
				}
				w.leave(here[i])
				here = append(here[:i], here[i+1:]...)
				continue
			}
			r := &report{
				m: &queue.Message{Data: make([]byte, rapid.IntRange(0, 50).Draw(t, "size"))},
				place: place{
					lane:   lane(rapid.IntRange(0, OverflowLanes).Draw(t, "lane")),
					tenant: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "tenant"),
				},
			}
			if w.enter(r) {
				w.shed(r)
			}
			here = append(here, r)
			tenants, out, heavy := map[string]amount{}, [lanes]amount{}, amount{}
			for i, r := range here {
				size := len(r.m.Data)
				out[r.lane] = amount{out[r.lane][inMessages] + 1, out[r.lane][inBytes] + size}
				if r.lane == laneMain && !r.shedding {
					tenants[r.tenant] = amount{tenants[r.tenant][inMessages] + 1, tenants[r.tenant][inBytes] + size}
				}
				if i > 0 && r.older != here[i-1] || i == 0 && (r.older != nil || w.oldest != r) {
					t.Fatal("the order of arrival is lost")
				}
			}
			for _, held := range tenants {
				for in, n := range held {
					if 20*n > w.max[in] {
						heavy[in]++
					}
				}
			}
			if d := cmp.Diff(tenants, w.tenants) + cmp.Diff(out, w.outstanding()) + cmp.Diff(heavy, w.heavy); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
		}
		leave(w, here)
		if w.outstanding() != [lanes]amount{} || len(w.tenants) != 0 || w.heavy != (amount{}) || w.oldest != nil || w.newest != nil {
			t.Fatalf("something is left: %+v", w)
		}
	})
}

func checkEmpty(t *testing.T, w *window) {
	t.Helper()
	if w.outstanding() != [lanes]amount{} || len(w.tenants) != 0 || w.heavy != (amount{}) || w.oldest != nil || w.newest != nil {
		t.Errorf("something is left: %+v", w)
	}
}

// TestOverflowLane: the lanes of these tenants are what other processes and other releases take them for.
func TestOverflowLane(t *testing.T) {
	t.Parallel()
	got := map[string]int{}
	for _, id := range []string{"", "acme", "globex", "tenant-1", "tenant-2"} {
		got[id] = OverflowLane(id)
	}
	want := map[string]int{"": 1, "acme": 0, "globex": 1, "tenant-1": 3, "tenant-2": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
	var n [OverflowLanes]int
	for i := range 4000 {
		n[OverflowLane(fmt.Sprintf("tenant-%04d", i))]++
	}
	for l := range n {
		if n[l] < 900 || n[l] > 1100 {
			t.Errorf("lane %d has %d of 4000 tenants: %v", l, n[l], n)
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	w := newWindow(1000, 1<<30)
	names := make([]string, 64)
	for i := range names {
		names[i] = fmt.Sprint("tenant-", i)
	}
	m := &queue.Message{Data: make([]byte, 1000)}
	rs := make([]report, 512)
	b.ReportAllocs()
	for i := range b.N {
		r := &rs[i%len(rs)]
		if i >= len(rs) {
			w.leave(r)
		}
		*r = report{m: m, place: place{tenant: names[i*7%len(names)]}}
		w.enter(r)
	}
}
