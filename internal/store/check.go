package store

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/usherhq/usher/internal/code"
)

// Limits of Firestore that usher must not meet, and its own below them.
const (
	MaxDocument = 1<<20 - 1024 // bytes of one document: 1 MiB less room for its name
	MaxDepth    = 20           // nested maps and arrays
	MaxCommit   = 2 << 20      // bytes of one Commit; the service allows 10 MiB, its emulator 4
	MaxWrites   = 500          // writes of one Commit
	MaxIndexed  = 1500         // bytes of an indexed text that queries see
)

// CheckWrite reports, before any RPC, whether a write can be accepted at all, and its approximate size.
// Both drivers call it, so a poisonous write is known by itself. Errors are code.Invalid or code.TooLarge.
func CheckWrite(w *Write) (size int, err error) {
	if !w.Path.IsDoc() {
		return 0, code.New(code.Invalid, "write: not a document path", nil)
	}
	if !w.Delete && len(w.Fields) == 0 && len(w.Add) == 0 {
		return 0, code.New(code.Invalid, "write: nothing to write", nil)
	}
	n, err := fieldsSize(w.Fields, 1)
	if err != nil {
		return 0, err
	}
	for i := range w.Add {
		if len(w.Add[i].Field) == 0 || len(w.Add[i].Field) > MaxDepth {
			return 0, code.New(code.Invalid, "write: bad field path in increment", nil)
		}
		for _, s := range w.Add[i].Field {
			if err := CheckName(s); err != nil {
				return 0, err
			}
			n += len(s) + 1
		}
		n += 8
	}
	if n > MaxDocument {
		return 0, code.New(code.TooLarge, fmt.Sprintf("write: document over %d bytes", MaxDocument), nil)
	}
	return n + len(w.Path) + 32, nil
}

// CheckName reports whether a field can have this name: code.Invalid if not.
func CheckName(s string) error {
	if s == "" || len(s) > MaxSegment || !utf8.ValidString(s) ||
		(len(s) >= 4 && s[:2] == "__" && s[len(s)-2:] == "__") {
		return code.New(code.Invalid, "write: forbidden field name", nil)
	}
	return nil
}

func fieldsSize(f Fields, depth int) (int, error) {
	if depth > MaxDepth {
		return 0, code.New(code.Invalid, "write: nested too deep", nil)
	}
	n := 0
	for i := range f {
		if err := CheckName(f[i].Name); err != nil {
			return 0, err
		}
		m, err := valueSize(f[i].Value, depth, false)
		if err != nil {
			return 0, err
		}
		n += len(f[i].Name) + 1 + m
	}
	if repeats(f) {
		return 0, code.New(code.Invalid, "write: field named twice", nil)
	}
	return n, nil
}

// repeats reports whether two fields have one name. Most maps are small: looking is cheaper than a set.
func repeats(f Fields) bool {
	if len(f) > 64 {
		names := make(map[string]struct{}, len(f))
		for i := range f {
			names[f[i].Name] = struct{}{}
		}
		return len(names) < len(f)
	}
	for i := range f {
		n := f[i].Name
		for j := range i {
			// Names that are alike differ at the end.
			if m := f[j].Name; len(m) == len(n) && m[len(m)-1] == n[len(n)-1] && m == n {
				return true
			}
		}
	}
	return false
}

// nested is what a map or array counts for itself: without it a million empty ones would be no size.
const nested = 4

func valueSize(v any, depth int, inArray bool) (int, error) {
	switch v := v.(type) {
	case nil, bool:
		return 1, nil
	case int64, float64:
		return 8, nil
	case time.Time:
		if y := v.UTC().Year(); y < 1 || y > 9999 {
			return 0, code.New(code.Invalid, "write: time out of range", nil)
		}
		return 8, nil
	case string:
		if !utf8.ValidString(v) {
			return 0, code.New(code.Invalid, "write: text is not UTF-8", nil)
		}
		return len(v) + 1, nil
	case []byte:
		return len(v), nil
	case Fields:
		n, err := fieldsSize(v, depth+1)
		return n + nested, err
	case []any:
		if inArray {
			return 0, code.New(code.Invalid, "write: array directly inside an array", nil)
		}
		n, err := listSize(v, depth+1)
		return n + nested, err
	}
	return 0, code.New(code.Invalid, "write: value of an unsupported type", nil)
}

func listSize(l []any, depth int) (int, error) {
	if depth > MaxDepth {
		return 0, code.New(code.Invalid, "write: nested too deep", nil)
	}
	n := 0
	for _, e := range l {
		m, err := valueSize(e, depth, true)
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}
