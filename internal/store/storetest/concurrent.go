package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

var concurrentTests = map[string]func(*testing.T, *suite){
	"increments are exact": increments,
	"one winner":           oneWinner,
	"version as a lock":    versionLock,
}

const writers = 8

// together runs f in several goroutines.
func together(f func(worker int)) {
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// untilWritten commits again while nothing was written for contention.
func (s *suite) untilWritten(t *testing.T, writes ...store.Write) {
	for {
		err := s.Commit(t.Context(), writes)
		if err == nil {
			return
		}
		if code.Of(err) != code.Conflict {
			t.Errorf("commit: %v", err)
			return
		}
	}
}

func increments(t *testing.T, s *suite) {
	const each = 10
	together(func(i int) {
		for range each {
			s.untilWritten(t, s.add("a", inc(1, "n"), inc(2, "by", fmt.Sprint(i)), inc(1, "by", "all")))
		}
	})
	by := fields("all", int64(writers*each))
	for i := range writers {
		by = append(by, store.Field{Name: fmt.Sprint(i), Value: int64(2 * each)})
	}
	s.want(t, "a", fields("n", int64(writers*each), "by", by))
}

func oneWinner(t *testing.T, s *suite) {
	for round := range 5 {
		var won atomic.Int64
		together(func(i int) {
			// The counter shows whether a loser wrote something.
			err := s.Commit(t.Context(), []store.Write{
				s.add(fmt.Sprint("loser", round, "-", i), inc(1, "n")),
				s.create(fmt.Sprint("prize", round), fields("owner", int64(i))),
			})
			switch code.Of(err) {
			case code.OK:
				won.Add(1)
			case code.Conflict:
			default:
				t.Errorf("commit: %v", err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d winners, want 1", won.Load())
		}
	}
	if ids := s.query(t, store.Query{}); len(ids) != 10 {
		t.Errorf("%d documents, want a prize and a counter for each of 5 rounds", len(ids))
	}
}

// versionLock counts by reading and writing back what was read.
func versionLock(t *testing.T, s *suite) {
	const each = 5
	s.commit(t, s.set("a", fields("n", int64(0))))
	together(func(int) {
		for done := 0; done < each; {
			docs, err := s.Get(t.Context(), []store.Path{s.path("a")})
			if err != nil {
				t.Errorf("get: %v", err)
				return
			}
			err = s.Commit(t.Context(), []store.Write{{
				Path: s.path("a"), Fields: fields("n", docs[0].Fields.Int("n")+1), IfVersion: docs[0].Version,
			}})
			switch code.Of(err) {
			case code.OK:
				done++
			case code.Conflict:
			default:
				t.Errorf("commit: %v", err)
				return
			}
		}
	})
	s.want(t, "a", fields("n", int64(writers*each)))
}
