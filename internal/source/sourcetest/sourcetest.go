// Package sourcetest holds adapters to the contract of package source: golden files, replies, fuzzing.
package sourcetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
	"github.com/usherhq/usher/internal/source"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is a record as the golden files show it.
type golden struct {
	Error     string         `json:"error,omitempty"`
	Test      bool           `json:"test,omitempty"`
	VendorID  string         `json:"vendor_id,omitempty"`
	Tenant    string         `json:"tenant,omitempty"`
	Routes    []source.Route `json:"routes,omitempty"`
	Canonical string         `json:"canonical,omitempty"`
	Event     *visitor.Event `json:"event,omitempty"`
}

// Golden parses every testdata/<case>.in.json and compares the records with <case>.want.json.
func Golden(t *testing.T, a source.Adapter) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.in.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".in.json"), func(t *testing.T) {
			t.Parallel()
			got := encode(t, parse(t, a, read(t, file)))
			want := strings.TrimSuffix(file, ".in.json") + ".want.json"
			if *update {
				if err := os.WriteFile(want, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, want)), string(got)); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, a source.Adapter, body []byte) []golden {
	t.Helper()
	recs, err := a.Parse(body)
	if err != nil {
		Unusable(t, err)
		return []golden{{Error: err.Error()}}
	}
	out := make([]golden, len(recs))
	for i := range recs {
		r := &recs[i]
		if !bytes.Contains(body, r.Raw) || len(r.Raw) == 0 {
			t.Errorf("record %d: raw is no part of the body", i)
		}
		out[i] = golden{"", r.Test, r.VendorID, r.Tenant, r.Routes, string(r.Canonical), &r.Event}
	}
	return out
}

// Unusable checks that an adapter's error is the contract's.
func Unusable(t *testing.T, err error) {
	t.Helper()
	var e *source.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v: want a *source.Error", err)
	}
	switch e.Outcome {
	case source.BadRequest, source.UnsupportedVersion, source.MissingTenant:
	default:
		t.Errorf("outcome %q: want one of an unusable body", e.Outcome)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Fuzz feeds the adapter with mutations of the golden inputs. What parses must encode, be valid UTF-8, and have
// a canonical form that parses to the same record.
func Fuzz(f *testing.F, a source.Adapter) {
	f.Helper()
	fuzz(f, a, func(_ *testing.T, rec *source.Record) *source.Record { return rec })
}

// FuzzByValue is [Fuzz] for an adapter whose canonical form keeps the values of numbers and not their text, which
// the event may show: the canonical form must be its own canonical form, and parse to the same record each time.
func FuzzByValue(f *testing.F, a source.Adapter) {
	f.Helper()
	fuzz(f, a, func(t *testing.T, rec *source.Record) *source.Record {
		t.Helper()
		settled := reparse(t, a, rec)
		if !bytes.Equal(settled.Canonical, rec.Canonical) {
			t.Fatalf("canonical form is not stable: %s, then %s", rec.Canonical, settled.Canonical)
		}
		return settled
	})
}

// fuzz checks every record that mutations of the golden inputs give; settle returns the one to be compared with what
// its canonical form parses to.
func fuzz(f *testing.F, a source.Adapter, settle func(*testing.T, *source.Record) *source.Record) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.in.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		recs, err := a.Parse(body)
		if err != nil {
			Unusable(t, err)
			return
		}
		for i := range recs {
			check(t, a, &recs[i], settle)
		}
	})
}

func check(t *testing.T, a source.Adapter, rec *source.Record, settle func(*testing.T, *source.Record) *source.Record) {
	t.Helper()
	b, err := json.Marshal(&rec.Event)
	if err != nil || !utf8.Valid(b) {
		t.Fatalf("event does not encode: %v", err)
	}
	if _, err := jsontree.Parse(rec.Raw); err != nil {
		t.Fatalf("raw is not JSON: %v", err)
	}
	if rec.VendorID != "" {
		return
	}
	rec = settle(t, rec)
	if diff := cmp.Diff(rec, reparse(t, a, rec)); diff != "" {
		t.Fatalf("canonical form is another record (-sent +canonical):\n%s", diff)
	}
}

// reparse parses a record's canonical form; the raw form stays that of the record.
func reparse(t *testing.T, a source.Adapter, rec *source.Record) *source.Record {
	t.Helper()
	again, err := a.Parse(rec.Canonical)
	if err != nil || len(again) != 1 {
		t.Fatalf("canonical form does not parse to one record: %v", err)
	}
	again[0].Raw = rec.Raw
	return &again[0]
}

// ReplyCase is one answer of an adapter.
type ReplyCase struct {
	Result source.Result
	Status int
	Body   string
}

// Replies compares answers with those wanted, the body as JSON text.
func Replies(t *testing.T, a source.Adapter, cases []ReplyCase) {
	t.Helper()
	for _, c := range cases {
		got := a.Reply(c.Result)
		body, err := json.Marshal(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != c.Status || string(body) != c.Body {
			t.Errorf("Reply(%+v) = %d %s, want %d %s", c.Result, got.Status, body, c.Status, c.Body)
		}
	}
}

// Bench parses one golden input.
func Bench(b *testing.B, a source.Adapter, name string) {
	b.Helper()
	body := read(b, filepath.Join("testdata", name+".in.json"))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}
