package storetest

import (
	"math"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// oddNames are field names that a field path must quote.
var oddNames = []string{"a.b", "2026-11", "é`", `back\slash`, "`", ".", " ", "\n", "0", "ﬁ", "😀", "__a", "a__"}

var mergeTests = map[string]func(*testing.T, *suite){
	"keeps and replaces": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("x", int64(1), "y", int64(1), "m", fields("p", int64(1), "q", int64(1)))))
		s.commit(t, store.Write{Path: s.path("a"), Merge: true, Fields: fields("y", "new", "m", fields("r", int64(2)), "z", nil)})
		s.want(t, "a", fields("x", int64(1), "y", "new", "m", fields("r", int64(2)), "z", nil))
	},
	"creates": func(t *testing.T, s *suite) {
		s.commit(t, store.Write{Path: s.path("a"), Merge: true, Fields: fields("x", int64(1))})
		s.want(t, "a", fields("x", int64(1)))
	},
	"leaves what was read alone": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("x", int64(1), "m", fields("n", int64(1)))))
		before := s.get(t, "a")
		s.commit(t, store.Write{Path: s.path("a"), Merge: true, Fields: fields("x", int64(2)), Add: []store.Increment{inc(1, "m", "n")}})
		want := fields("x", int64(1), "m", fields("n", int64(1)))
		if d := diff(want, before.Fields); d != "" {
			t.Fatalf("an earlier read changed (-want +got):\n%s", d)
		}
		s.want(t, "a", fields("x", int64(2), "m", fields("n", int64(2))))
	},
	"odd names": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("kept", true)))
		want := fields("kept", true)
		for i, n := range oddNames {
			s.commit(t, store.Write{Path: s.path("a"), Merge: true, Fields: fields(n, int64(i))})
			want = append(want, store.Field{Name: n, Value: int64(i)})
		}
		s.want(t, "a", want)
	},
}

var addTests = map[string]func(*testing.T, *suite){
	"creates": func(t *testing.T, s *suite) {
		s.commit(t, s.add("a", inc(2, "n"), inc(-3, "by", "day", "2026-11-22")))
		s.want(t, "a", fields("n", int64(2), "by", fields("day", fields("2026-11-22", int64(-3)))))
	},
	"keeps the rest": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("text", "t", "n", int64(1), "m", fields("p", int64(1), "q", "r"))))
		s.commit(t, s.add("a", inc(4, "n"), inc(1, "m", "p"), inc(1, "m", "new")))
		s.want(t, "a", fields("text", "t", "n", int64(5), "m", fields("p", int64(2), "q", "r", "new", int64(1))))
	},
	"after fields": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("gone", int64(9), "n", int64(100))))
		s.commit(t, store.Write{Path: s.path("a"), Fields: fields("n", int64(7)), Add: []store.Increment{inc(1, "n"), inc(2, "m", "p")}})
		s.want(t, "a", fields("n", int64(8), "m", fields("p", int64(2))))
		s.commit(t, store.Write{
			Path: s.path("a"), Merge: true, Fields: fields("m", fields("q", int64(1))),
			Add: []store.Increment{inc(3, "m", "p"), inc(1, "n")},
		})
		s.want(t, "a", fields("n", int64(9), "m", fields("q", int64(1), "p", int64(3))))
	},
	"odd names": func(t *testing.T, s *suite) {
		var adds []store.Increment
		inner := store.Fields{}
		want := store.Fields{}
		for i, n := range oddNames {
			adds = append(adds, inc(int64(i+1), "m", n), inc(int64(i+1), n))
			inner = append(inner, store.Field{Name: n, Value: 2 * int64(i+1)})
			want = append(want, store.Field{Name: n, Value: 2 * int64(i+1)})
		}
		s.commit(t, s.add("a", adds...))
		s.commit(t, s.add("a", adds...))
		s.want(t, "a", append(want, store.Field{Name: "m", Value: inner}))
	},
	"same field again": func(t *testing.T, s *suite) {
		s.commit(t, s.add("a", inc(1, "n"), inc(2, "m"), inc(3, "n")))
		s.want(t, "a", fields("n", int64(4), "m", int64(2)))
	},
	"field and inside it": func(t *testing.T, s *suite) {
		s.refuse(t, code.Invalid, s.add("a", inc(1, "n"), inc(1, "n", "m")))
		s.refuse(t, code.Invalid, s.set("b", fields("x", int64(1))), s.add("a", inc(1, "n", "m"), inc(1, "n")))
		s.want(t, "a", nil)
		s.want(t, "b", nil)
	},
	"on other types": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("text", "t", "double", 1.5, "null", nil, "map", fields("x", int64(1)), "through", "t",
			"max", int64(math.MaxInt64-1), "min", int64(math.MinInt64+1))))
		s.commit(t, s.add("a", inc(1, "text"), inc(1, "double"), inc(1, "null"), inc(1, "map"), inc(1, "through", "x"),
			inc(5, "max"), inc(-5, "min")))
		s.want(t, "a", fields("text", int64(1), "double", 2.5, "null", int64(1), "map", int64(1), "through", fields("x", int64(1)),
			"max", int64(math.MaxInt64), "min", int64(math.MinInt64)))
	},
}

var valueTests = map[string]func(*testing.T, *suite){
	"round trip": func(t *testing.T, s *suite) {
		at := time.Date(2026, 11, 22, 10, 20, 30, 123456000, time.UTC)
		f := fields(
			"null", nil, "true", true, "false", false,
			"int", int64(42), "zero", int64(0), "min", int64(math.MinInt64), "max", int64(math.MaxInt64),
			"double", 1.25, "whole", 2.0, "inf", math.Inf(-1), "nan", math.NaN(), "tiny", math.SmallestNonzeroFloat64,
			"text", "Zoë İ 名前 😀 ´`\\.", "empty", "", "zero byte", "a\x00b",
			"bytes", []byte{0, 255, 128}, "no bytes", []byte{},
			"time", at, "first", time.Time{}, "old", time.Date(1815, 12, 10, 0, 0, 0, 1000, time.UTC),
			"last", time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
			"map", fields("a", fields("b", []any{fields("c", at), nil})), "no map", store.Fields{},
			"list", []any{"a", int64(1), 1.5, true, nil, at, []byte{1}, fields("x", "y"), store.Fields{}}, "no list", []any{},
		)
		s.commit(t, s.set("a", f))
		s.want(t, "a", f)
		s.commit(t, store.Write{Path: s.path("b"), Fields: f, Merge: true})
		s.want(t, "b", f)
	},
	"times are cut to microseconds": func(t *testing.T, s *suite) {
		in := time.Date(2026, 11, 22, 10, 20, 30, 999999999, time.FixedZone("", 3600))
		old := time.Date(1900, 1, 1, 0, 0, 0, 1999, time.UTC)
		cut := time.Date(2026, 11, 22, 9, 20, 30, 999999000, time.UTC)
		oldCut := time.Date(1900, 1, 1, 0, 0, 0, 1000, time.UTC)
		given := fields("t", in, "old", old, "m", fields("t", in), "l", []any{"x", in, fields("t", in)})
		s.commit(t, s.set("a", given))
		s.want(t, "a", fields("t", cut, "old", oldCut, "m", fields("t", cut), "l", []any{"x", cut, fields("t", cut)}))
		if got := s.get(t, "a").Fields.Time("t"); got.Location() != time.UTC {
			t.Error("a time is not in UTC")
		}
		if !given.Time("t").Equal(in) {
			t.Error("the caller's fields were changed")
		}
	},
	"odd names": func(t *testing.T, s *suite) {
		var f store.Fields
		for i, n := range oddNames {
			f = append(f, store.Field{Name: n, Value: fields(n, int64(i))})
		}
		s.commit(t, s.set("a", f))
		s.want(t, "a", f)
	},
}

var getTests = map[string]func(*testing.T, *suite){
	"order, missing, repeated": func(t *testing.T, s *suite) {
		s.commit(t, s.set("a", fields("n", "a")), s.set("b", fields("n", "b")), s.set("ü 😀", fields("n", "ü")))
		ids := []string{"b", "none", "a", "b", "ü 😀", "none", "b"}
		var paths []store.Path
		for _, id := range ids {
			paths = append(paths, s.path(id))
		}
		docs, err := s.Get(t.Context(), paths)
		if err != nil || len(docs) != len(paths) {
			t.Fatalf("get: %d documents, %v", len(docs), err)
		}
		for i, want := range []string{"b", "", "a", "b", "ü", "", "b"} {
			d := docs[i]
			if d.Path != paths[i] || d.Fields.Text("n") != want || d.Exists != (want != "") || d.Version.IsZero() != (want == "") {
				t.Errorf("document %d: got %q, exists %v", i, d.Fields.Text("n"), d.Exists)
			}
		}
	},
	"nothing": func(t *testing.T, s *suite) {
		if docs, err := s.Get(t.Context(), nil); err != nil || len(docs) != 0 {
			t.Errorf("get: %d documents, %v", len(docs), err)
		}
	},
	"bad paths": func(t *testing.T, s *suite) {
		for _, p := range []store.Path{"", s.collection, "tenants"} {
			if _, err := s.Get(t.Context(), []store.Path{p}); code.Of(err) != code.Invalid {
				t.Errorf("get: %v, want invalid", err)
			}
		}
	},
	"subcollections are apart": func(t *testing.T, s *suite) {
		inner := s.path("a") + "/inner/b"
		s.commit(t, store.Write{Path: inner, Fields: fields("x", int64(1))})
		s.want(t, "a", nil)
		docs, err := s.Query(t.Context(), store.Query{Collection: s.collection, Limit: 10})
		if err != nil || len(docs) != 0 {
			t.Errorf("query: %d documents, %v, want none", len(docs), err)
		}
	},
}
