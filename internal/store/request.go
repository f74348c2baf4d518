package store

import (
	"fmt"
	"unicode/utf8"

	"github.com/usherhq/usher/internal/code"
)

// More limits of Firestore.
const (
	MaxAdds  = 500  // increments of one document in one Commit
	MaxPath  = 5888 // bytes of a path: 6 KiB less room for the database's name
	MaxLimit = 1000 // documents of one Query
)

// CheckCommit reports, before any RPC, whether a commit can be accepted at all, and its approximate size.
// Both drivers call it. A precondition belongs to the first write of its document in a commit: behind another
// it is refused. Errors are code.Invalid or code.TooLarge.
func CheckCommit(writes []Write) (size int, err error) {
	if len(writes) > MaxWrites {
		return 0, code.New(code.TooLarge, fmt.Sprintf("commit: over %d writes", MaxWrites), nil)
	}
	adds, conditions := 0, 0
	for i := range writes {
		w := &writes[i]
		if err := checkKind(w); err != nil {
			return 0, err
		}
		n, err := CheckWrite(w)
		if err != nil {
			return 0, err
		}
		size += n
		adds += len(w.Add)
		if w.conditioned() {
			conditions++
		}
	}
	if size > MaxCommit {
		return 0, code.New(code.TooLarge, fmt.Sprintf("commit: over %d bytes", MaxCommit), nil)
	}
	if adds > MaxAdds || conditions > 0 && len(writes) > 1 {
		return size, checkTogether(writes)
	}
	return size, nil
}

func (w *Write) conditioned() bool { return w.IfMissing || !w.IfVersion.IsZero() }

// checkKind refuses writes that say two things at once.
func checkKind(w *Write) error {
	switch {
	case len(w.Path) > MaxPath:
		return code.New(code.Invalid, "write: path too long", nil)
	case w.Delete && (len(w.Fields) > 0 || len(w.Add) > 0 || w.Merge || w.IfMissing):
		return code.New(code.Invalid, "write: delete and something else", nil)
	case w.IfMissing && !w.IfVersion.IsZero():
		return code.New(code.Invalid, "write: two preconditions", nil)
	}
	return nil
}

// checkTogether checks what the writes of one document are together.
func checkTogether(writes []Write) error {
	adds := make(map[Path]int, len(writes))
	for i := range writes {
		w := &writes[i]
		n, again := adds[w.Path]
		if again && w.conditioned() {
			return code.New(code.Invalid, "commit: precondition behind another write of the document", nil)
		}
		if n += len(w.Add); n > MaxAdds {
			return code.New(code.TooLarge, fmt.Sprintf("commit: over %d increments of a document", MaxAdds), nil)
		}
		adds[w.Path] = n
	}
	return nil
}

// CheckGet reports, before any RPC, whether all paths name documents. The error is code.Invalid.
func CheckGet(paths []Path) error {
	for _, p := range paths {
		if !p.IsDoc() || len(p) > MaxPath {
			return code.New(code.Invalid, "get: not a document path", nil)
		}
	}
	return nil
}

// CheckQuery reports, before any RPC, whether a query can be answered. The error is code.Invalid.
func CheckQuery(q *Query) error {
	if q.Collection == "" || q.Collection.IsDoc() || len(q.Collection) > MaxPath {
		return code.New(code.Invalid, "query: not a collection path", nil)
	}
	if q.Limit < 1 || q.Limit > MaxLimit {
		return code.New(code.Invalid, fmt.Sprintf("query: limit is not 1 to %d", MaxLimit), nil)
	}
	if q.OrderBy == "" && q.Descending {
		return code.New(code.Invalid, "query: Firestore has no descending order by id", nil)
	}
	if q.OrderBy != "" {
		if err := CheckName(q.OrderBy); err != nil {
			return code.New(code.Invalid, "query: forbidden field name", nil)
		}
	}
	if err := checkFilters(q.Where); err != nil {
		return err
	}
	return checkAfter(q)
}

func checkFilters(where []Filter) error {
	contains := 0
	for i := range where {
		f := &where[i]
		if err := CheckName(f.Field); err != nil {
			return code.New(code.Invalid, "query: forbidden field name", nil)
		}
		switch f.Op {
		case Equal:
		case ArrayContains:
			contains++
		default:
			return code.New(code.Invalid, "query: unknown operator", nil)
		}
		if _, err := valueSize(f.Value, 1, f.Op == ArrayContains); err != nil {
			return code.New(code.Invalid, "query: value not allowed", nil)
		}
		if !indexed(f.Value) {
			return code.New(code.Invalid, fmt.Sprintf("query: value over %d bytes", MaxIndexed), nil)
		}
	}
	if contains > 1 {
		return code.New(code.Invalid, "query: more than one array-contains", nil)
	}
	return nil
}

// indexed reports whether the index holds the whole of a value, so that comparing with it is exact.
func indexed(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= MaxIndexed && utf8.ValidString(v)
	case []byte:
		return len(v) <= MaxIndexed
	}
	return true
}

func checkAfter(q *Query) error {
	if q.After == nil {
		return nil
	}
	if !q.After.Path.IsDoc() || q.After.Path.Parent() != q.Collection {
		return code.New(code.Invalid, "query: continues behind a document of elsewhere", nil)
	}
	if q.OrderBy == "" {
		return nil
	}
	for i := range q.After.Fields {
		if q.After.Fields[i].Name == q.OrderBy {
			return nil
		}
	}
	return code.New(code.Invalid, "query: continues behind a document without the ordered field", nil)
}
