package memstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

func fields(name string, v any) store.Fields { return store.Fields{{Name: name, Value: v}} }

func create(p store.Path) store.Write {
	return store.Write{Path: p, Fields: fields("x", int64(1)), IfMissing: true}
}

func count(p store.Path) store.Write {
	return store.Write{Path: p, Add: []store.Increment{{Field: []string{"n"}, N: 1}}}
}

func exists(t *testing.T, s *memstore.Store, p store.Path) bool {
	t.Helper()
	docs, err := s.Get(t.Context(), []store.Path{p})
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return docs[0].Exists
}

// storeOnce stores an event and counts it, as usher does: it commits again until it is sure.
func storeOnce(ctx context.Context, s store.Store, event, counter store.Path) error {
	for {
		err := s.Commit(ctx, []store.Write{create(event), count(counter)})
		switch code.Of(err) {
		case code.OK:
			return nil
		case code.Unavailable: // the same again
		case code.Conflict:
			docs, err := s.Get(ctx, []store.Path{event})
			if err != nil {
				return fmt.Errorf("read again: %w", err)
			}
			if docs[0].Exists {
				return nil
			}
		default:
			return err
		}
	}
}

func TestEveryFaultEndsExact(t *testing.T) {
	t.Parallel()
	faults := fault.New(7, fault.Everything(0.2))
	s := memstore.New(memstore.Options{Faults: faults})
	const workers, events = 8, 100
	var wg sync.WaitGroup
	for range workers { // each stores the same events
		wg.Go(func() {
			for i := range events {
				if err := storeOnce(t.Context(), s, store.Path(fmt.Sprint("events/", i)), "counters/c"); err != nil {
					t.Errorf("event %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	s.Settle()
	docs, err := s.Query(t.Context(), store.Query{Collection: "events", Limit: store.MaxLimit})
	if err != nil || len(docs) != events {
		t.Errorf("%d events, %v, want %d", len(docs), err, events)
	}
	docs, err = s.Get(t.Context(), []store.Path{"counters/c"})
	if err != nil || docs[0].Fields.Int("n") != events {
		t.Errorf("counted %d, %v, want %d", docs[0].Fields.Int("n"), err, events)
	}
	for _, k := range []fault.Kind{fault.Aborted, fault.LostResponse, fault.LateApply} {
		if faults.Struck()[k] == 0 {
			t.Errorf("fault %s never struck", k)
		}
	}
}

func TestOneFault(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind    fault.Kind
		want    code.Code
		applied bool // at once
		settled bool
	}{
		{fault.Aborted, code.Conflict, false, false},
		{fault.LostResponse, code.Unavailable, true, true},
		{fault.LateApply, code.Unavailable, false, true},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			s := memstore.New(memstore.Options{Faults: fault.New(1, fault.Plan{test.kind: 1})})
			if err := s.Commit(t.Context(), []store.Write{create("events/a")}); code.Of(err) != test.want {
				t.Fatalf("commit: %v, want %v", err, test.want)
			}
			if got := s.Stats().Commits == 1; got != test.applied {
				t.Errorf("applied at once: %v, want %v", got, test.applied)
			}
			s.Settle()
			if got := exists(t, s, "events/a"); got != test.settled {
				t.Errorf("applied in the end: %v, want %v", got, test.settled)
			}
		})
	}
}

func TestLateApplyByLaterOperations(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{Faults: fault.New(1, fault.Plan{fault.LateApply: 1})})
	writes := []store.Write{create("events/a")}
	if err := s.Commit(t.Context(), writes); code.Of(err) != code.Unavailable {
		t.Fatalf("commit: %v", err)
	}
	writes[0] = store.Write{Path: "events/a", Delete: true} // the slice is the caller's
	reads := 1
	for !exists(t, s, "events/a") {
		if reads++; reads > 10 {
			t.Fatal("not applied after 10 reads")
		}
	}
	if reads == 1 {
		t.Error("applied before the first read")
	}
}

func TestLateCommitsKeepPreconditionsAndClose(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{Faults: fault.New(1, fault.Plan{fault.LateApply: 1})})
	for range 3 {
		if err := s.Commit(t.Context(), []store.Write{create("events/a"), count("counters/c")}); code.Of(err) != code.Unavailable {
			t.Fatalf("commit: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if got := s.Stats(); got.Commits != 1 || got.Conflicts != 2 || got.Writes != 2 {
		t.Errorf("stats %+v, want one commit of 2 writes and 2 conflicts", got)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		faults *fault.Injector
		at     any
		want   bool
	}{
		"over":        {fault.New(1, fault.Plan{fault.Expired: 1}), now.Add(-1000), false},
		"not yet":     {fault.New(1, fault.Plan{fault.Expired: 1}), now.Add(1000), true},
		"not a time":  {fault.New(1, fault.Plan{fault.Expired: 1}), "2020", true},
		"without ttl": {nil, now.Add(-1000), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New(memstore.Options{Faults: test.faults, Now: func() time.Time { return now }})
			for _, p := range []store.Path{"events/read", "events/listed", "events/written"} {
				if err := s.Commit(t.Context(), []store.Write{{Path: p, Fields: fields("expire_at", test.at)}}); err != nil {
					t.Fatalf("commit: %v", err)
				}
			}
			want := code.OK
			if test.want {
				want = code.Conflict
			}
			if err := s.Commit(t.Context(), []store.Write{create("events/written")}); code.Of(err) != want {
				t.Errorf("create: %v, want %v", err, want)
			}
			if got := exists(t, s, "events/read"); got != test.want {
				t.Errorf("read: %v, want %v", got, test.want)
			}
			docs, err := s.Query(t.Context(), store.Query{Collection: "events", Limit: 10})
			if err != nil || (len(docs) == 3) != test.want {
				t.Errorf("query: %d documents, %v", len(docs), err)
			}
		})
	}
}

func TestCommitDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{CommitDelay: time.Second})
		start := time.Now()
		if err := s.Commit(t.Context(), []store.Write{create("events/a")}); err != nil {
			t.Fatalf("commit: %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("a commit took %v, want 1s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Commit(ctx, []store.Write{create("events/b")}); code.Of(err) != code.Unavailable {
			t.Errorf("commit over its deadline: %v, want unavailable", err)
		}
	})
}

func TestClosed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]memstore.Options{
		"plain": {}, "late": {Faults: fault.New(1, fault.Plan{fault.LateApply: 1})},
	} {
		s := memstore.New(o)
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		_, getErr := s.Get(t.Context(), []store.Path{"events/a"})
		_, queryErr := s.Query(t.Context(), store.Query{Collection: "events", Limit: 1})
		for op, err := range map[string]error{
			"commit": s.Commit(t.Context(), []store.Write{create("events/a")}), "get": getErr, "query": queryErr,
		} {
			if code.Of(err) != code.Unavailable {
				t.Errorf("%s: %s after close: %v, want unavailable", name, op, err)
			}
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	if err := s.Commit(t.Context(), []store.Write{create("events/a"), count("counters/c")}); err != nil {
		t.Fatalf("commit: %v", err)
	}
	if err := s.Commit(t.Context(), []store.Write{count("counters/c"), create("events/a")}); code.Of(err) != code.Conflict {
		t.Fatalf("commit: %v, want a conflict", err)
	}
	exists(t, s, "events/a")
	exists(t, s, "events/none")
	if _, err := s.Query(t.Context(), store.Query{Collection: "events", Limit: 1}); err != nil {
		t.Fatalf("query: %v", err)
	}
	if got, want := s.Stats(), (memstore.Stats{Commits: 1, Conflicts: 1, Writes: 2, Reads: 3}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// BenchmarkCommit stores events as the daemon does: 100 in a commit, each with its visitor, and one counter.
func BenchmarkCommit(b *testing.B) {
	s := memstore.New(memstore.Options{})
	var record store.Fields
	for i := range 40 {
		record = append(record, store.Field{Name: fmt.Sprintf("field_%02d", i), Value: "a text of some 30 characters.."})
	}
	var adds []store.Increment
	for i := range 30 {
		adds = append(adds, store.Increment{Field: []string{"by_day", "22", fmt.Sprint("key", i)}, N: 1})
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		writes := make([]store.Write, 0, 201)
		for i := range 100 {
			id := fmt.Sprint(n, "-", i)
			writes = append(writes,
				store.Write{Path: store.Path("tenants/t/events/" + id), Fields: record, IfMissing: true},
				store.Write{Path: store.Path("tenants/t/visitors/" + id), Fields: record[:20], IfMissing: true})
		}
		writes = append(writes, store.Write{Path: "tenants/t/usage_shards/u", Add: adds})
		if err := s.Commit(b.Context(), writes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}
