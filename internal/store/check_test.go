package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// The rest of the checks is in the storetest suite, which holds both drivers to them.

func TestFieldNamedTwice(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 10, 64, 65, 1000} {
		var f store.Fields
		for i := range n {
			f = append(f, store.Field{Name: fmt.Sprint("f", i), Value: true})
		}
		w := store.Write{Path: "t/a", Fields: f}
		if _, err := store.CheckWrite(&w); err != nil {
			t.Errorf("%d fields: %v", n, err)
		}
		f[n-1].Name = f[0].Name
		if _, err := store.CheckWrite(&w); code.Of(err) != code.Invalid {
			t.Errorf("%d fields, one name twice: %v, want invalid", n, err)
		}
	}
}

func TestCheckCommitSize(t *testing.T) {
	t.Parallel()
	w := []store.Write{{Path: "t/a", Fields: store.Fields{{Name: "x", Value: strings.Repeat("x", 1000)}}}, {Path: "t/b", Delete: true}}
	size, err := store.CheckCommit(w)
	if err != nil || size < 1000 || size > 1200 {
		t.Errorf("size %d, %v, want a little over 1000", size, err)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	p, err := store.NewPath("tenants", "acme", "visitors", "v 1")
	if err != nil || p != "tenants/acme/visitors/v 1" || p.ID() != "v 1" || p.Parent() != "tenants/acme/visitors" {
		t.Errorf("path %q, %v", p, err)
	}
	if !p.IsDoc() || p.Parent().IsDoc() || store.Path("").IsDoc() || store.Path("tenants").Parent() != "" {
		t.Error("documents and collections are mixed up")
	}
	for name, segments := range map[string][]string{
		"none": nil, "empty": {"a", ""}, "slash": {"a/b"}, "dot": {"."}, "dots": {".."}, "reserved": {"__x__"},
		"zero byte": {"a\x00"}, "not UTF-8": {"\xff"}, "long": {strings.Repeat("x", store.MaxSegment+1)},
	} {
		if _, err := store.NewPath(segments...); code.Of(err) != code.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestFieldsGetters(t *testing.T) {
	t.Parallel()
	f := store.Fields{
		{Name: "text", Value: "t"}, {Name: "int", Value: int64(2)}, {Name: "bool", Value: true}, {Name: "bytes", Value: []byte{1}},
		{Name: "map", Value: store.Fields{{Name: "x", Value: "y"}}}, {Name: "list", Value: []any{"a", int64(1), "b"}},
	}
	if f.Text("text") != "t" || f.Int("int") != 2 || !f.Bool("bool") || len(f.Bytes("bytes")) != 1 || f.Map("map").Text("x") != "y" {
		t.Error("a value is not found")
	}
	if got := f.Texts("list"); len(got) != 2 || got[1] != "b" {
		t.Errorf("texts %q", got)
	}
	if f.Text("int") != "" || f.Int("none") != 0 || f.Get("none") != nil || !f.Time("text").IsZero() || f.Map("text") != nil || f.List("none") != nil {
		t.Error("a missing value or one of another type is not the zero value")
	}
}
