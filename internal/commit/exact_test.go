package commit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/store/memstore"
)

// TestExactlyOnce is promise P2: several processes commit overlapping, shuffled deliveries of the same events
// on a store that aborts, loses responses and applies late; what is stored is that of each event once.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { rapid.Check(timeless{t}, exactlyOnce) })
}

// timeless hides the deadline of a test, which a bubble forbids to ask for.
type timeless struct{ rapid.TB }

func exactlyOnce(t *rapid.T) {
	events := map[visitor.TenantID]map[visitor.EventID]*visitor.Event{}
	var all []*visitor.Event
	for i := range rapid.IntRange(1, 60).Draw(t, "events") {
		ten := visitor.TenantID(rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "tenant"))
		who := rapid.SampledFrom([]string{"ada", "ada", "eve", "bob", ""}).Draw(t, "who")
		at := noon.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "minute")) * time.Minute)
		ev := event(visitor.EventID(fmt.Sprint("evt_", i)), ten, who, at)
		if rapid.Bool().Draw(t, "body") {
			ev.RepeatAfterSeconds = 3600
		}
		if events[ten] == nil {
			events[ten] = map[visitor.EventID]*visitor.Event{}
		}
		events[ten][ev.ID] = ev
		all = append(all, ev)
	}
	faults := fault.New(rapid.Uint64().Draw(t, "seed"), fault.Everything(rapid.Float64Range(0, 0.3).Draw(t, "faults")))
	s := memstore.New(memstore.Options{
		Faults: faults, CommitDelay: 5 * time.Millisecond, Now: func() time.Time { return noon },
	})
	var wg sync.WaitGroup
	var failed atomic.Int64
	for p := range rapid.IntRange(1, 3).Draw(t, "processes") {
		o := options(s)
		o.Concurrency, o.MaxEvents = rapid.IntRange(1, 3).Draw(t, "concurrency"), rapid.IntRange(1, 30).Draw(t, "batch")
		c := open(t, o)
		deliveries := rapid.Permutation(all).Draw(t, "order")
		if p > 0 { // the first delivers everything, each further one a part of it
			deliveries = deliveries[:rapid.IntRange(0, len(all)).Draw(t, "part")]
		}
		deliveries = append(deliveries, deliveries[:rapid.IntRange(0, len(deliveries)).Draw(t, "again")]...)
		for _, ev := range deliveries {
			wg.Go(func() {
				for c.Add(t.Context(), item(ev)) != nil { // a nacked message comes again
					failed.Add(1)
				}
			})
		}
	}
	wg.Wait()
	s.Settle()
	for ten, of := range events {
		checkExact(t, s, ten, of)
	}
	if n := failed.Load(); n > 0 {
		t.Logf("%d tries failed", n)
	}
}

// TestFaultsStrike keeps the test above honest: with it, every fault of the store does happen.
func TestFaultsStrike(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := fault.New(7, fault.Everything(0.3))
		s := memstore.New(memstore.Options{Faults: faults, Now: func() time.Time { return noon }})
		c := open(t, options(s))
		events, items := neighbours(60)
		var wg sync.WaitGroup
		for _, it := range items {
			wg.Go(func() { add(t, c, it) })
		}
		wg.Wait()
		for i := range 40 { // enough commits that each fault has its chance
			ev := event(visitor.EventID(fmt.Sprint("evt_more", i)), "t1", "", noon)
			events[ev.ID] = ev
			add(t, c, item(ev))
		}
		s.Settle()
		checkExact(t, s, "t1", events)
		for _, k := range []fault.Kind{fault.Aborted, fault.LostResponse, fault.LateApply} {
			if faults.Struck()[k] == 0 {
				t.Errorf("%s never struck", k)
			}
		}
		if st := c.Stats(); st.Events+st.Duplicates != 100 || st.Conflicts == 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	for _, tenants := range []int{1, 50} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			s := memstore.New(memstore.Options{})
			o := options(s)
			o.Concurrency, o.CacheSize, o.Linger = 4, 100_000, 5*time.Millisecond
			c, err := commit.New(o)
			if err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			b.SetParallelism(250)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					ev := event(visitor.EventID(fmt.Sprint("evt_", i)), visitor.TenantID(fmt.Sprint("t", i%int64(tenants))), fmt.Sprint("ada", i%5000), noon)
					if err := c.Add(b.Context(), item(ev)); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			st := c.Stats()
			b.ReportMetric(float64(st.Writes)/float64(st.Events), "writes/event")
			b.ReportMetric(float64(st.Reads)/float64(st.Events), "reads/event")
			b.ReportMetric(float64(st.Events)/float64(st.Commits), "events/commit")
			if err := c.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
