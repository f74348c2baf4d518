package parts_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/parts"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

func place(part int) (store.Path, error) { return store.NewPath("things", fmt.Sprint(part)) }

func nowhere(int) (store.Path, error) { return store.NewPath("a/b") }

func TestParts(t *testing.T) {
	t.Parallel()
	expire := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	for size, want := range map[int]int{0: 0, 1: 1, parts.Size: 1, parts.Size + 1: 2, 3*parts.Size - 1: 3} {
		s := memstore.New(memstore.Options{})
		payload := bytes.Repeat([]byte("x"), size)
		for range 2 { // again is harmless
			if n, err := parts.Write(t.Context(), s, place, payload, expire); n != want || err != nil {
				t.Errorf("%d bytes in %d parts, %v, want %d", size, n, err, want)
			}
		}
		got, err := parts.Read(t.Context(), s, place, want, size)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("read %d of %d bytes, %v", len(got), size, err)
		}
		docs, err := s.Query(t.Context(), store.Query{Collection: "things", Limit: 10})
		if err != nil || len(docs) != want {
			t.Errorf("%d documents, %v", len(docs), err)
		}
		for _, d := range docs {
			if !d.Fields.Time("expire_at").Equal(expire) {
				t.Errorf("expires at %v", d.Fields.Time("expire_at"))
			}
		}
		if _, err := parts.Read(t.Context(), s, place, want+1, size+1); !errors.Is(err, parts.ErrDamaged) {
			t.Errorf("with a part missing: %v, want ErrDamaged", err)
		}
	}
}

func TestParts_errors(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	if _, err := parts.Write(t.Context(), s, nowhere, []byte("x"), time.Now()); code.Of(err) != code.Invalid {
		t.Errorf("write: %v", err)
	}
	if _, err := parts.Read(t.Context(), s, nowhere, 1, 1); code.Of(err) != code.Invalid {
		t.Errorf("read: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := parts.Write(t.Context(), s, place, []byte("x"), time.Now()); code.Of(err) != code.Unavailable {
		t.Errorf("write to a closed store: %v", err)
	}
	if _, err := parts.Read(t.Context(), s, place, 1, 1); code.Of(err) != code.Unavailable {
		t.Errorf("read of a closed store: %v", err)
	}
}
