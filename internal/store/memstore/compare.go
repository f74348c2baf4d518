package memstore

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/internal/store"
)

// compare orders values as Firestore does: by type, then by value; whole and other numbers are one type.
func compare(a, b any) int {
	if n := cmp.Compare(rank(a), rank(b)); n != 0 {
		return n
	}
	switch a := a.(type) {
	case bool:
		return compareBool(a, b.(bool))
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
		return cmp.Compare(float64(a), b.(float64))
	case float64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, float64(b))
		}
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Truncate(time.Microsecond).Compare(b.(time.Time).Truncate(time.Microsecond))
	case string:
		return strings.Compare(a, b.(string))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case []any:
		return slices.CompareFunc(a, b.([]any), compare)
	case store.Fields:
		return slices.CompareFunc(sorted(a), sorted(b.(store.Fields)), func(a, b store.Field) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), compare(a.Value, b.Value))
		})
	}
	return 0
}

func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case int64, float64:
		return 2
	case time.Time:
		return 3
	case string:
		return 4
	case []byte:
		return 5
	case []any:
		return 6
	}
	return 7
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func sorted(f store.Fields) store.Fields {
	return slices.SortedFunc(slices.Values(f), func(a, b store.Field) int { return strings.Compare(a.Name, b.Name) })
}
