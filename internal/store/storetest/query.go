package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

var queryTests = map[string]func(*testing.T, *suite){
	"by id":        byID,
	"filters":      filters,
	"order":        order,
	"order types":  orderTypes,
	"pages":        pages,
	"after a gap":  afterGap,
	"refused":      refusedQueries,
	"tenant alone": tenantAlone,
}

// query returns the ids that a query finds.
func (s *suite) query(t *testing.T, q store.Query) []string {
	t.Helper()
	q.Collection = s.collection
	if q.Limit == 0 {
		q.Limit = store.MaxLimit
	}
	docs, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("query: %v", err)
	}
	var ids []string
	for _, d := range docs {
		if !d.Exists || d.Version.IsZero() || d.Path.Parent() != s.collection {
			t.Errorf("document %d of a query is incomplete", len(ids))
		}
		ids = append(ids, d.Path.ID())
	}
	return ids
}

func (s *suite) wantIDs(t *testing.T, what string, q store.Query, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, s.query(t, q)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func byID(t *testing.T, s *suite) {
	s.wantIDs(t, "empty", store.Query{})
	ids := []string{"a", "B", "é", "b", "1", "10", "2", "a-b", "a b", "名"}
	for _, id := range ids {
		s.commit(t, s.set(id, fields("x", int64(1))))
	}
	slices.Sort(ids)
	s.wantIDs(t, "ascending", store.Query{}, ids...)
	s.wantIDs(t, "limit", store.Query{Limit: 3}, ids[:3]...)
	s.commit(t, store.Write{Path: s.path(ids[0]), Delete: true})
	s.wantIDs(t, "after a delete", store.Query{}, ids[1:]...)
}

func filters(t *testing.T, s *suite) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 1000, time.UTC)
	s.commit(t,
		s.set("a", fields("k", "x", "n", int64(1), "l", []any{"p", "q"}, "t", at)),
		s.set("b", fields("k", "x", "n", 1.0, "l", []any{"q", int64(2)}, "z", nil)),
		s.set("c", fields("k", "y", "n", int64(2), "l", "q", "odd.`name", true)),
		s.set("d", fields("k", int64(1), "n", math.NaN(), "b", []byte{1}, "m", fields("y", "1", "x", int64(2)))),
		s.set("e", fields("other", "x", "l", []any{})),
	)
	eq := func(name string, v any) store.Filter { return store.Filter{Field: name, Op: store.Equal, Value: v} }
	has := func(name string, v any) store.Filter {
		return store.Filter{Field: name, Op: store.ArrayContains, Value: v}
	}
	for _, test := range []struct {
		name  string
		where []store.Filter
		want  []string
	}{
		{"text", []store.Filter{eq("k", "x")}, []string{"a", "b"}},
		{"number of both kinds", []store.Filter{eq("n", int64(1))}, []string{"a", "b"}},
		{"not a number", []store.Filter{eq("n", math.NaN())}, []string{"d"}},
		{"two", []store.Filter{eq("k", "x"), eq("z", nil)}, []string{"b"}},
		{"null is not missing", []store.Filter{eq("z", nil)}, []string{"b"}},
		{"time", []store.Filter{eq("t", at.Add(999*time.Nanosecond))}, []string{"a"}},
		{"bytes", []store.Filter{eq("b", []byte{1})}, []string{"d"}},
		{"bool of an odd name", []store.Filter{eq("odd.`name", true)}, []string{"c"}},
		{"map in any order", []store.Filter{eq("m", fields("x", int64(2), "y", "1"))}, []string{"d"}},
		{"whole array", []store.Filter{eq("l", []any{"p", "q"})}, []string{"a"}},
		{"contains", []store.Filter{has("l", "q")}, []string{"a", "b"}},
		{"contains number", []store.Filter{has("l", 2.0)}, []string{"b"}},
		{"contains and equal", []store.Filter{has("l", "q"), eq("t", at)}, []string{"a"}},
		{"none", []store.Filter{eq("k", "nobody")}, nil},
	} {
		s.wantIDs(t, test.name, store.Query{Where: test.where}, test.want...)
	}
}

func order(t *testing.T, s *suite) {
	for i, at := range []int64{5, 3, 3, 9, 1, 3} {
		s.commit(t, s.set(fmt.Sprint("d", i), fields("seen.at", time.Unix(at, 0).UTC(), "even", i%2 == 0)))
	}
	s.commit(t, s.set("without", fields("x", int64(1))))
	up := []string{"d4", "d1", "d2", "d5", "d0", "d3"}
	s.wantIDs(t, "ascending", store.Query{OrderBy: "seen.at"}, up...)
	s.wantIDs(t, "limit", store.Query{OrderBy: "seen.at", Limit: 2}, up[:2]...)
	down := slices.Clone(up)
	slices.Reverse(down)
	s.wantIDs(t, "descending", store.Query{OrderBy: "seen.at", Descending: true}, down...)
	even := []store.Filter{{Field: "even", Op: store.Equal, Value: true}}
	s.wantIDs(t, "filtered", store.Query{OrderBy: "seen.at", Where: even}, "d4", "d2", "d0")
}

func orderTypes(t *testing.T, s *suite) {
	values := []any{
		nil, false, true, math.NaN(), math.Inf(-1), int64(-1), 0.5, int64(1), 1.5, int64(2),
		time.Unix(1, 0), time.Unix(2, 0), "", "B", "a", "ab", "é", []byte{}, []byte{1}, []byte{1, 0}, []byte{2},
		[]any{}, []any{int64(1)}, []any{int64(1), int64(0)}, []any{int64(2)}, []any{"a"},
		store.Fields{}, fields("a", int64(1)), fields("b", int64(1), "a", int64(1)), fields("a", int64(2)), fields("b", int64(0)),
	}
	var want []string
	for i := len(values) - 1; i >= 0; i-- {
		id := fmt.Sprintf("%02d", i)
		s.commit(t, s.set(id, fields("v", values[i])))
		want = append(want, id)
	}
	s.wantIDs(t, "descending", store.Query{OrderBy: "v", Descending: true}, want...)
	slices.Reverse(want)
	s.wantIDs(t, "ascending", store.Query{OrderBy: "v"}, want...)
}

func pages(t *testing.T, s *suite) {
	var writes []store.Write
	for i := range 57 {
		writes = append(writes, s.set(fmt.Sprintf("d%02d", i), fields("group", int64(i%5), "odd", i%2 == 1)))
	}
	s.commit(t, writes...)
	odd := []store.Filter{{Field: "odd", Op: store.Equal, Value: true}}
	for _, q := range []store.Query{
		{}, {OrderBy: "group"}, {OrderBy: "group", Descending: true},
		{Where: odd}, {Where: odd, OrderBy: "group"},
	} {
		name := fmt.Sprintf("order %q, descending %v, filters %d", q.OrderBy, q.Descending, len(q.Where))
		whole := s.query(t, q)
		if want := 57 - 29*len(q.Where); len(whole) != want {
			t.Fatalf("%s: %d documents, want %d", name, len(whole), want)
		}
		var got []string
		q.Collection, q.Limit = s.collection, 10
		for {
			docs, err := s.Query(t.Context(), q)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(docs) == 0 {
				break
			}
			for _, d := range docs {
				got = append(got, d.Path.ID())
			}
			last := docs[len(docs)-1]
			// A cursor carries no more than the contract asks for.
			q.After = &store.Doc{Path: last.Path, Fields: store.Fields{{Name: "group", Value: last.Fields.Get("group")}}}
		}
		if diff := gocmp.Diff(whole, got); diff != "" {
			t.Errorf("%s: pages (-whole +pages):\n%s", name, diff)
		}
	}
}

func afterGap(t *testing.T, s *suite) {
	s.commit(t, s.set("a", fields("n", int64(1))), s.set("c", fields("n", int64(3))), s.set("e", fields("n", int64(5))))
	gone := &store.Doc{Path: s.path("d"), Fields: fields("n", int64(4))}
	s.wantIDs(t, "by id", store.Query{After: gone}, "e")
	s.wantIDs(t, "by field", store.Query{After: gone, OrderBy: "n"}, "e")
	s.wantIDs(t, "by field, descending", store.Query{After: gone, OrderBy: "n", Descending: true}, "c", "a")
	s.wantIDs(t, "behind the last", store.Query{After: &store.Doc{Path: s.path("e")}})
}

func refusedQueries(t *testing.T, s *suite) {
	eq := func(f string, v any) []store.Filter { return []store.Filter{{Field: f, Op: store.Equal, Value: v}} }
	for name, q := range map[string]store.Query{
		"no limit":          {Collection: s.collection},
		"limit":             {Collection: s.collection, Limit: store.MaxLimit + 1},
		"negative limit":    {Collection: s.collection, Limit: -1},
		"document path":     {Collection: s.path("a"), Limit: 1},
		"no path":           {Limit: 1},
		"operator":          {Collection: s.collection, Limit: 1, Where: []store.Filter{{Field: "a", Op: "<", Value: int64(1)}}},
		"value":             {Collection: s.collection, Limit: 1, Where: eq("a", 1)},
		"text":              {Collection: s.collection, Limit: 1, Where: eq("a", "\xff")},
		"long text":         {Collection: s.collection, Limit: 1, Where: eq("a", strings.Repeat("x", store.MaxIndexed+1))},
		"long bytes":        {Collection: s.collection, Limit: 1, Where: eq("a", make([]byte, store.MaxIndexed+1))},
		"field":             {Collection: s.collection, Limit: 1, Where: eq("", int64(1))},
		"order":             {Collection: s.collection, Limit: 1, OrderBy: "__name__"},
		"descending ids":    {Collection: s.collection, Limit: 1, Descending: true},
		"contains an array": {Collection: s.collection, Limit: 1, Where: []store.Filter{{Field: "a", Op: store.ArrayContains, Value: []any{}}}},
		"contains twice": {Collection: s.collection, Limit: 1, Where: []store.Filter{
			{Field: "a", Op: store.ArrayContains, Value: "x"}, {Field: "b", Op: store.ArrayContains, Value: "x"},
		}},
		"cursor elsewhere":     {Collection: s.collection, Limit: 1, After: &store.Doc{Path: "tenants/other/things/a"}},
		"cursor without field": {Collection: s.collection, Limit: 1, OrderBy: "n", After: &store.Doc{Path: s.path("a")}},
	} {
		if _, err := s.Query(t.Context(), q); code.Of(err) != code.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func tenantAlone(t *testing.T, s *suite) {
	other := s.collection.Parent() + "-other/things/b"
	s.commit(t, s.set("a", fields("k", "x")), store.Write{Path: other, Fields: fields("k", "x")})
	s.wantIDs(t, "another tenant's documents", store.Query{Where: []store.Filter{{Field: "k", Op: store.Equal, Value: "x"}}}, "a")
}
