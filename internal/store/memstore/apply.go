package memstore

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// prepare does outside the lock what does not need it: times are cut to microseconds and increments sorted
// by path. It leaves the caller's writes alone.
func prepare(writes []store.Write) []store.Write {
	ready := slices.Clone(writes)
	for i := range ready {
		w := &ready[i]
		w.Fields = cutFields(w.Fields)
		if !slices.IsSortedFunc(w.Add, byPath) {
			w.Add = slices.Clone(w.Add)
			slices.SortStableFunc(w.Add, byPath)
		}
	}
	return ready
}

func byPath(a, b store.Increment) int { return slices.Compare(a.Field, b.Field) }

// cutFields returns f itself when there is nothing to cut.
func cutFields(f store.Fields) store.Fields {
	out := f
	for i := range f {
		v, changed := cut(f[i].Value)
		if !changed {
			continue
		}
		if &out[0] == &f[0] {
			out = slices.Clone(f)
		}
		out[i].Value = v
	}
	return out
}

func cut(v any) (_ any, changed bool) {
	switch v := v.(type) {
	case time.Time:
		if v.Location() == time.UTC && v.Nanosecond()%1000 == 0 {
			return nil, false
		}
		return v.UTC().Truncate(time.Microsecond), true
	case store.Fields:
		out := cutFields(v)
		return out, len(v) > 0 && &out[0] != &v[0]
	case []any:
		out := v
		for i := range v {
			e, changed := cut(v[i])
			if !changed {
				continue
			}
			if &out[0] == &v[0] {
				out = slices.Clone(v)
			}
			out[i] = e
		}
		return out, len(v) > 0 && &out[0] != &v[0]
	}
	return nil, false
}

// apply applies all writes or none. The caller holds the lock.
func (s *Store) apply(writes []store.Write) error {
	s.version++
	olds := make([]*document, len(writes))
	for i := range writes {
		w := &writes[i]
		d, err := s.next(w)
		if err != nil {
			for j := i - 1; j >= 0; j-- {
				s.put(writes[j].Path, olds[j])
			}
			return err
		}
		olds[i] = s.put(w.Path, d)
	}
	s.commits.Add(1)
	s.writes.Add(int64(len(writes)))
	return nil
}

// next returns what a write makes of its document, nil for nothing.
func (s *Store) next(w *store.Write) (*document, error) {
	old := s.get(w.Path)
	if w.IfMissing && old != nil ||
		!w.IfVersion.IsZero() && (old == nil || !time.Time(old.is()).Equal(time.Time(w.IfVersion))) {
		s.conflicts.Add(1)
		return nil, code.New(code.Conflict, "commit", errors.New("precondition failed"))
	}
	if w.Delete {
		return nil, nil
	}
	d := &document{fields: w.Fields, version: s.version}
	keeps := old != nil && (w.Merge || len(w.Fields) == 0)
	if keeps {
		d.fields = overlay(old.fields, w.Fields)
	}
	var err error
	if len(w.Add) > 0 {
		if d.fields, err = add(d.fields, w.Add, 0); err != nil {
			return nil, err
		}
	}
	if keeps {
		d.size, err = grown(old, w, d.fields)
	}
	return d, err
}

// overlay replaces the named fields.
func overlay(old, by store.Fields) store.Fields {
	if len(by) == 0 {
		return old
	}
	out := make(store.Fields, len(old), len(old)+len(by))
	copy(out, old)
	for i := range by {
		if j := index(out[:len(old)], by[i].Name); j >= 0 {
			out[j] = by[i]
		} else {
			out = append(out, by[i])
		}
	}
	return out
}

func index(f store.Fields, name string) int {
	for i := range f {
		if f[i].Name == name {
			return i
		}
	}
	return -1
}

// add returns f with the increments, which are sorted by path and agree in it up to depth.
func add(f store.Fields, adds []store.Increment, depth int) (store.Fields, error) {
	out := make(store.Fields, len(f), len(f)+min(len(adds), 8))
	copy(out, f)
	for len(adds) > 0 {
		name, n := adds[0].Field[depth], 1
		for n < len(adds) && adds[n].Field[depth] == name {
			n++
		}
		i := index(out, name)
		if i < 0 {
			i = len(out)
			out = append(out, store.Field{Name: name})
		}
		v, err := addTo(out[i].Value, adds[:n], depth+1)
		if err != nil {
			return nil, err
		}
		out[i].Value = v
		adds = adds[n:]
	}
	return out, nil
}

// addTo adds to one field: to a number, or inside a map. Anything else is replaced.
func addTo(v any, adds []store.Increment, depth int) (any, error) {
	if len(adds[0].Field) > depth {
		m, _ := v.(store.Fields)
		return add(m, adds, depth)
	}
	for i := range adds {
		if len(adds[i].Field) > depth { // sorted: the field itself comes before what is in it
			return nil, code.New(code.Invalid, "commit", errors.New("increment of a field and inside it"))
		}
		v = sum(v, adds[i].N)
	}
	return v, nil
}

// sum adds as Firestore does: whole numbers stop at their limits, what is no number counts as 0.
func sum(v any, n int64) any {
	switch v := v.(type) {
	case float64:
		return v + float64(n)
	case int64:
		switch {
		case n > 0 && v > math.MaxInt64-n:
			return int64(math.MaxInt64)
		case n < 0 && v < math.MinInt64-n:
			return int64(math.MinInt64)
		}
		return v + n
	}
	return n
}

// grown returns a bound of the document's size after a write that keeps fields. Only when the bound is too
// high the fields are measured.
func grown(old *document, w *store.Write, now store.Fields) (int, error) {
	size := old.size
	if size == 0 {
		size, _ = store.CheckWrite(&store.Write{Path: w.Path, Fields: old.fields})
	}
	more, err := store.CheckWrite(w)
	if err != nil {
		return 0, err
	}
	if size += more; size <= store.MaxDocument {
		return size, nil
	}
	size, err = store.CheckWrite(&store.Write{Path: w.Path, Fields: now})
	if err != nil {
		return 0, code.New(code.Invalid, "commit", errors.New("document would be too large"))
	}
	return size, nil
}
