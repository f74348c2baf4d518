package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

var limitTests = map[string]func(*testing.T, *suite){
	"refused writes":    refusedWrites,
	"writes":            manyWrites,
	"increments":        manyAdds,
	"commit size":       commitSize,
	"document size":     documentSize,
	"depth":             depth,
	"growing documents": growing,
}

// locally commits with an ended context: a code other than Canceled was found before any RPC.
func (s *suite) locally(t *testing.T, name string, want code.Code, writes ...store.Write) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, writes); code.Of(err) != want {
		t.Errorf("%s: %v, want %v before any RPC", name, err, want)
	}
}

func refusedWrites(t *testing.T, s *suite) {
	one := fields("x", int64(1))
	v := store.Version(time.Unix(1, 0))
	for name, w := range map[string]store.Write{
		"collection path":    {Path: s.collection, Fields: one},
		"no path":            {Fields: one},
		"long path":          {Path: s.path(strings.Repeat("a/b/", store.MaxPath/4) + "c"), Fields: one},
		"nothing":            {Path: s.path("a")},
		"delete and fields":  {Path: s.path("a"), Delete: true, Fields: one},
		"delete and add":     {Path: s.path("a"), Delete: true, Add: []store.Increment{inc(1, "x")}},
		"delete if missing":  {Path: s.path("a"), Delete: true, IfMissing: true},
		"two preconditions":  {Path: s.path("a"), Fields: one, IfMissing: true, IfVersion: v},
		"empty name":         s.set("a", fields("", int64(1))),
		"reserved name":      s.set("a", fields("__x__", int64(1))),
		"inner name":         s.set("a", fields("m", fields("__x__", int64(1)))),
		"name not UTF-8":     s.set("a", fields("\xff", int64(1))),
		"long name":          s.set("a", fields(strings.Repeat("x", store.MaxSegment+1), int64(1))),
		"name twice":         s.set("a", fields("x", int64(1), "y", int64(1), "x", int64(2))),
		"text not UTF-8":     s.set("a", fields("x", "\xff")),
		"type":               s.set("a", fields("x", 1)),
		"inner type":         s.set("a", fields("x", []any{struct{}{}})),
		"array in array":     s.set("a", fields("x", []any{[]any{int64(1)}})),
		"time before year 1": s.set("a", fields("x", time.Time{}.Add(-1))),
		"time after 9999":    s.set("a", fields("x", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))),
		"add of no field":    s.add("a", inc(1)),
		"add of empty name":  s.add("a", inc(1, "m", "")),
		"add of reserved":    s.add("a", inc(1, "__x__")),
		"add too deep":       s.add("a", inc(1, strings.Split(strings.Repeat("m", store.MaxDepth+1), "")...)),
	} {
		s.locally(t, name, code.Invalid, s.set("b", one), w)
	}
	s.want(t, "b", nil)
}

func manyWrites(t *testing.T, s *suite) {
	var writes []store.Write
	for i := range store.MaxWrites + 1 {
		writes = append(writes, s.create(fmt.Sprint(i), fields("i", int64(i))))
	}
	s.locally(t, "too many", code.TooLarge, writes...)
	s.commit(t, writes[:store.MaxWrites]...)
	if ids := s.query(t, store.Query{}); len(ids) != store.MaxWrites {
		t.Errorf("%d documents, want %d", len(ids), store.MaxWrites)
	}
}

func manyAdds(t *testing.T, s *suite) {
	var adds []store.Increment
	for i := range store.MaxAdds + 1 {
		adds = append(adds, inc(1, "m", fmt.Sprint(i)))
	}
	s.locally(t, "in one write", code.TooLarge, s.add("a", adds...))
	s.locally(t, "in two writes", code.TooLarge, s.add("a", adds[:300]...), s.add("a", adds[300:]...))
	s.commit(t, s.add("a", adds[1:]...), s.add("b", adds[1:]...))
	if n := len(s.get(t, "a").Fields.Map("m")); n != store.MaxAdds {
		t.Errorf("%d counters, want %d", n, store.MaxAdds)
	}
}

func commitSize(t *testing.T, s *suite) {
	text := strings.Repeat("x", store.MaxCommit/3)
	writes := []store.Write{s.set("a", fields("x", text)), s.set("b", fields("x", text)), s.set("c", fields("x", text))}
	s.locally(t, "too large together", code.TooLarge, writes...)
	s.commit(t, writes[:2]...)
	if got := s.get(t, "b").Fields.Text("x"); got != text {
		t.Errorf("%d bytes are stored, want %d", len(got), len(text))
	}
}

func documentSize(t *testing.T, s *suite) {
	s.locally(t, "too large", code.TooLarge, s.set("a", fields("x", make([]byte, store.MaxDocument))))
	empty := make([]any, store.MaxDocument/2)
	for i := range empty {
		empty[i] = store.Fields{}
	}
	s.locally(t, "too many empty maps", code.TooLarge, s.set("a", fields("x", empty)))
	s.commit(t, s.set("a", fields("x", make([]byte, store.MaxDocument-100))))
	if n := len(s.get(t, "a").Fields.Bytes("x")); n != store.MaxDocument-100 {
		t.Errorf("%d bytes are stored, want %d", n, store.MaxDocument-100)
	}
}

func depth(t *testing.T, s *suite) {
	deep := func(levels int) any {
		var v any = "leaf"
		for range levels {
			v = fields("m", v)
		}
		return v
	}
	s.locally(t, "too deep", code.Invalid, s.set("a", fields("m", deep(store.MaxDepth))))
	s.locally(t, "too deep in a list", code.Invalid, s.set("a", fields("m", []any{deep(store.MaxDepth - 1)})))
	f := fields("m", deep(store.MaxDepth-1))
	s.commit(t, s.set("a", f))
	s.want(t, "a", f)
}

// growing documents are refused when they would be too large, not only large writes.
func growing(t *testing.T, s *suite) {
	s.commit(t, s.set("a", fields("x", make([]byte, 600<<10))))
	s.refuse(t, code.Invalid, s.set("b", fields("x", int64(1))),
		store.Write{Path: s.path("a"), Merge: true, Fields: fields("y", make([]byte, 600<<10))})
	s.want(t, "b", nil)
	for range 3 { // replacing is not growing
		s.commit(t, store.Write{Path: s.path("a"), Merge: true, Fields: fields("x", make([]byte, 600<<10))})
	}
	if d := s.get(t, "a"); len(d.Fields) != 1 {
		t.Errorf("%d fields, want 1", len(d.Fields))
	}
}
