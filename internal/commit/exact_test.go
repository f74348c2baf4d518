package commit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/store/memstore"
)

// TestFaultsStrike keeps the property test honest: with it, every fault of the store does happen.
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
