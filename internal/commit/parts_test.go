package commit_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

// large is an item whose raw payload is n incompressible bytes.
func large(n int) *commit.Item {
	it := item(event("evt_large", "t1", "ada", noon))
	it.Raw, it.RawEncoding = make([]byte, n), "zstd"
	r := rand.New(rand.NewPCG(1, 2))
	for i := range it.Raw {
		it.Raw[i] = byte(r.Uint32())
	}
	it.Bytes = 2000 + n/3*4
	return it
}

// storedRaw joins the raw payload of a record from its parts.
func storedRaw(t *testing.T, s store.Store, d store.Doc) []byte {
	t.Helper()
	n := int(d.Fields.Int("raw_parts"))
	if n == 0 {
		return d.Fields.Bytes("raw")
	}
	var raw []byte
	for i := range n {
		p, err := layout.RawPart("t1", "evt_large", i)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := s.Get(t.Context(), []store.Path{p})
		if err != nil || !docs[0].Exists || docs[0].Fields.Time("expire_at").IsZero() {
			t.Fatalf("part %d: %+v, %v", i, docs, err)
		}
		raw = append(raw, docs[0].Fields.Bytes("raw")...)
	}
	return raw
}

func TestLargePayloads(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ bytes, parts int }{
		"fits the record":  {900 << 10, 0},
		"a little more":    {900<<10 + 1, 2},
		"exactly two":      {1800 << 10, 2},
		"4 MiB, as posted": {4 << 20, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New(memstore.Options{})
			c := open(t, options(s))
			it := large(tt.bytes)
			if res := add(t, c, it); res.Duplicate || !res.FirstMatch {
				t.Errorf("result %+v", res)
			}
			docs := records(t, s, "t1")
			if len(docs) != 1 || docs[0].Fields.Int("raw_parts") != int64(tt.parts) || docs[0].Fields.Text("raw_encoding") != "zstd" {
				t.Fatalf("%d records, %d parts", len(docs), docs[0].Fields.Int("raw_parts"))
			}
			if !bytes.Equal(storedRaw(t, s, docs[0]), it.Raw) {
				t.Error("what is stored is not what was sent")
			}
			if res := add(t, open(t, options(s)), large(tt.bytes)); !res.Duplicate {
				t.Errorf("again: %+v", res)
			}
		})
	}
}

// TestPartsComeFirst: while a part cannot be stored there is no record, and nothing is counted.
func TestPartsComeFirst(t *testing.T) {
	onTroubled(t, func(t *testing.T, s *troubled, c *commit.Committer) {
		s.before = func(_ int, w []store.Write) error {
			if touches(w, "raw_parts/0001") {
				return code.New(code.Denied, "commit", nil)
			}
			return nil
		}
		if err := c.Add(t.Context(), large(2<<20)); code.Of(err) != code.Denied {
			t.Errorf("Add: %v", err)
		}
		if n := len(records(t, s, "t1")); n != 0 || month(t, s, "t1").Events != 0 {
			t.Errorf("%d records, usage %+v", n, month(t, s, "t1"))
		}
		s.before = nil
		add(t, c, large(2<<20))
		if n := len(records(t, s, "t1")); n != 1 || month(t, s, "t1").Events != 1 {
			t.Errorf("%d records, usage %+v", n, month(t, s, "t1"))
		}
	})
}
