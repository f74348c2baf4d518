package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

var commitTests = map[string]func(*testing.T, *suite){
	"set replaces": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("x", int64(1), "y", "old")))
		s.commit(t, s.set("a", fields("x", int64(2))))
		s.want(t, "a", fields("x", int64(2)))
	},
	"nothing is no error": func(t *testing.T, s *suite) { s.commit(t) },
	"delete": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("x", int64(1))))
		s.commit(t, store.Write{Path: s.path("a"), Delete: true}, store.Write{Path: s.path("never"), Delete: true})
		s.want(t, "a", nil)
		s.commit(t, s.create("a", fields("x", int64(2))))
		s.want(t, "a", fields("x", int64(2)))
	},
	"if missing": func(t *testing.T, s *suite) {
		s.commit(t, s.create("a", fields("x", int64(1))))
		s.refuse(t, code.Conflict, s.create("a", fields("x", int64(2))))
		s.refuse(t, code.Conflict, store.Write{Path: s.path("a"), Add: []store.Increment{inc(1, "x")}, IfMissing: true})
		s.want(t, "a", fields("x", int64(1)))
		s.commit(t, store.Write{Path: s.path("b"), Add: []store.Increment{inc(1, "x")}, IfMissing: true})
		s.want(t, "b", fields("x", int64(1)))
	},
	"if version":           ifVersion,
	"versions differ":      versionsDiffer,
	"atomic":               allOrNone,
	"one document twice":   twice,
	"condition comes late": lateCondition,
	"ended context":        endedContext,
}

func ifVersion(t *testing.T, s *suite) {
	s.commit(t, s.set("a", fields("x", int64(1))))
	first := s.get(t, "a").Version
	if first.IsZero() {
		t.Fatal("an existing document has no version")
	}
	s.commit(t, store.Write{Path: s.path("a"), Fields: fields("x", int64(2)), IfVersion: first})
	second := s.get(t, "a").Version
	if time.Time(second).Equal(time.Time(first)) {
		t.Fatal("the version did not change")
	}
	for name, w := range map[string]store.Write{
		"stale":          {Path: s.path("a"), Fields: fields("x", int64(3)), IfVersion: first},
		"stale merge":    {Path: s.path("a"), Fields: fields("x", int64(3)), Merge: true, IfVersion: first},
		"stale add":      {Path: s.path("a"), Add: []store.Increment{inc(1, "x")}, IfVersion: first},
		"stale delete":   {Path: s.path("a"), Delete: true, IfVersion: first},
		"missing":        {Path: s.path("b"), Fields: fields("x", int64(3)), IfVersion: second},
		"missing delete": {Path: s.path("b"), Delete: true, IfVersion: second},
	} {
		if err := s.Commit(t.Context(), []store.Write{w}); code.Of(err) != code.Conflict {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	s.want(t, "a", fields("x", int64(2)))
	s.want(t, "b", nil)
	s.commit(t, store.Write{Path: s.path("a"), Delete: true, IfVersion: second})
	s.want(t, "a", nil)
}

func versionsDiffer(t *testing.T, s *suite) {
	s.commit(t, s.set("a", fields("x", int64(1))))
	first := s.get(t, "a").Version
	s.commit(t, store.Write{Path: s.path("a"), Delete: true})
	s.commit(t, s.create("a", fields("x", int64(1))))
	s.refuse(t, code.Conflict, store.Write{Path: s.path("a"), Fields: fields("x", int64(9)), IfVersion: first})
	if v := s.get(t, "a").Version; !time.Time(v).After(time.Time(first)) {
		t.Fatal("the version of a later state is not later")
	}
	if !s.get(t, "never").Version.IsZero() {
		t.Fatal("a missing document has a version")
	}
}

// allOrNone commits many writes of all kinds of which the last one fails.
func allOrNone(t *testing.T, s *suite) {
	s.commit(t, s.set("kept", fields("x", int64(1))), s.set("taken", fields("x", int64(1))))
	before := s.get(t, "kept").Version
	writes := []store.Write{
		s.set("kept", fields("y", int64(2))),
		s.add("kept", inc(5, "x")),
		{Path: s.path("kept"), Delete: true},
		s.add("counter", inc(1, "n")),
	}
	for i := range 20 {
		writes = append(writes, s.create(fmt.Sprint("new", i), fields("i", int64(i))))
	}
	stale := store.Version(time.Time(before).Add(-time.Second))
	for name, last := range map[string]store.Write{
		"taken":   s.create("taken", fields("x", int64(2))),
		"stale":   {Path: s.path("taken"), Fields: fields("x", int64(2)), IfVersion: stale},
		"missing": {Path: s.path("none"), Fields: fields("x", int64(2)), IfVersion: before},
	} {
		if err := s.Commit(t.Context(), append(writes[:len(writes):len(writes)], last)); code.Of(err) != code.Conflict {
			t.Fatalf("%s: %v, want a conflict", name, err)
		}
		s.want(t, "kept", fields("x", int64(1)))
		s.want(t, "taken", fields("x", int64(1)))
		s.want(t, "counter", nil)
		docs, err := s.Query(t.Context(), store.Query{Collection: s.collection, Limit: 100})
		if err != nil || len(docs) != 2 {
			t.Fatalf("%s: %d documents are left, %v, want 2", name, len(docs), err)
		}
	}
	if v := s.get(t, "kept").Version; !time.Time(v).Equal(time.Time(before)) {
		t.Fatal("a refused commit changed a version")
	}
	s.commit(t, writes...)
	s.want(t, "kept", nil)
	s.want(t, "counter", fields("n", int64(1)))
}

func twice(t *testing.T, s *suite) {
	s.commit(t,
		s.create("a", fields("x", int64(1), "y", int64(1))),
		store.Write{Path: s.path("a"), Fields: fields("x", int64(10)), Merge: true},
		s.add("a", inc(5, "x"), inc(5, "z")),
		s.add("a", inc(7, "x")),
	)
	s.want(t, "a", fields("x", int64(22), "y", int64(1), "z", int64(5)))
	s.commit(t, s.add("a", inc(1, "x")), s.set("a", fields("x", int64(0))))
	s.want(t, "a", fields("x", int64(0)))
	s.commit(t, store.Write{Path: s.path("a"), Delete: true}, s.add("a", inc(3, "n")))
	s.want(t, "a", fields("n", int64(3)))
}

func lateCondition(t *testing.T, s *suite) {
	s.refuse(t, code.Invalid, s.create("a", fields("x", int64(1))), s.create("a", fields("x", int64(2))))
	s.commit(t, s.set("b", fields("x", int64(1))))
	v := s.get(t, "b").Version
	s.refuse(t, code.Invalid, s.add("b", inc(1, "x")), store.Write{Path: s.path("b"), Delete: true, IfVersion: v})
	s.want(t, "a", nil)
	s.want(t, "b", fields("x", int64(1)))
}

func endedContext(t *testing.T, s *suite) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for want, ctx := range map[code.Code]context.Context{code.Canceled: canceled, code.Unavailable: late} {
		if err := s.Commit(ctx, []store.Write{s.set("a", fields("x", int64(1)))}); code.Of(err) != want {
			t.Errorf("commit: %v, want %v", err, want)
		}
		if _, err := s.Get(ctx, []store.Path{s.path("a")}); code.Of(err) != want {
			t.Errorf("get: %v, want %v", err, want)
		}
		if _, err := s.Query(ctx, store.Query{Collection: s.collection, Limit: 1}); code.Of(err) != want {
			t.Errorf("query: %v, want %v", err, want)
		}
	}
	s.want(t, "a", nil)
}
