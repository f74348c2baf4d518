// Package storetest is the conformance suite of the store contract: both drivers are held to it.
package storetest

import (
	"crypto/rand"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// Run runs the suite. open returns a store without faults, which may be shared: each test writes under a
// tenant of its own. open arranges for closing.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, tests := range map[string]map[string]func(*testing.T, *suite){
		"commit":     commitTests,
		"merge":      mergeTests,
		"add":        addTests,
		"values":     valueTests,
		"get":        getTests,
		"query":      queryTests,
		"limits":     limitTests,
		"concurrent": concurrentTests,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, &suite{Store: open(t), collection: store.Path("tenants/" + rand.Text() + "/things")})
				})
			}
		})
	}
}

// suite is one test's store and its own collection.
type suite struct {
	store.Store
	collection store.Path
}

func (s *suite) path(id string) store.Path { return s.collection + "/" + store.Path(id) }

// commit commits writes that must succeed.
func (s *suite) commit(t *testing.T, writes ...store.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), writes); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// refuse commits writes that must fail with a code.
func (s *suite) refuse(t *testing.T, want code.Code, writes ...store.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), writes); code.Of(err) != want {
		t.Fatalf("commit: code %v (%v), want %v", code.Of(err), err, want)
	}
}

func (s *suite) get(t *testing.T, id string) store.Doc {
	t.Helper()
	docs, err := s.Get(t.Context(), []store.Path{s.path(id)})
	if err != nil || len(docs) != 1 {
		t.Fatalf("get: %d documents, %v", len(docs), err)
	}
	return docs[0]
}

// want checks a document's fields, in any order; nil wants no document.
func (s *suite) want(t *testing.T, id string, want store.Fields) {
	t.Helper()
	got := s.get(t, id)
	if got.Exists != (want != nil) {
		t.Fatalf("document exists: %v, want %v", got.Exists, want != nil)
	}
	if d := diff(want, got.Fields); d != "" {
		t.Fatalf("fields (-want +got):\n%s", d)
	}
}

// diff compares fields in any order, and an empty value as a nil one of its type.
func diff(want, got store.Fields) string {
	return gocmp.Diff(byName(want), byName(got), cmpopts.EquateEmpty(), cmpopts.EquateNaNs())
}

// byName turns Fields into maps all the way down.
func byName(v any) any {
	switch v := v.(type) {
	case store.Fields:
		m := make(map[string]any, len(v))
		for _, f := range v {
			m[f.Name] = byName(f.Value)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = byName(v[i])
		}
		return l
	}
	return v
}

func (s *suite) set(id string, f store.Fields) store.Write {
	return store.Write{Path: s.path(id), Fields: f}
}

func (s *suite) create(id string, f store.Fields) store.Write {
	return store.Write{Path: s.path(id), Fields: f, IfMissing: true}
}

func (s *suite) add(id string, adds ...store.Increment) store.Write {
	return store.Write{Path: s.path(id), Add: adds}
}

// fields makes Fields of names and values in turn.
func fields(nameValue ...any) store.Fields {
	f := make(store.Fields, 0, len(nameValue)/2)
	for i := 0; i < len(nameValue); i += 2 {
		f = append(f, store.Field{Name: nameValue[i].(string), Value: nameValue[i+1]})
	}
	return f
}

func inc(n int64, field ...string) store.Increment { return store.Increment{Field: field, N: n} }
