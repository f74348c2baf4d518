package memstore

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/store"
)

// Query implements [store.Store].
func (s *Store) Query(ctx context.Context, q store.Query) ([]store.Doc, error) {
	if err := store.CheckQuery(&q); err != nil {
		return nil, err
	}
	if err := ended(ctx, "query"); err != nil {
		return nil, err
	}
	docs, err := s.candidates(&q)
	if err != nil {
		return nil, err
	}
	if q.OrderBy != "" {
		slices.SortFunc(docs, func(a, b store.Doc) int { return position(&q, &a, &b) })
		docs = docs[:min(len(docs), q.Limit)]
	}
	s.reads.Add(int64(len(docs)))
	return docs, nil
}

// candidates returns the documents that pass: by id the page itself, else all in no order.
func (s *Store) candidates(q *store.Query) ([]store.Doc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed("query")
	}
	s.tick()
	c := s.collections[q.Collection]
	if c == nil {
		return nil, nil
	}
	if s.faults.Plans(fault.Expired) {
		for _, id := range slices.Sorted(maps.Keys(c.docs)) {
			s.expire(child(q.Collection, id))
		}
	}
	if q.OrderBy == "" {
		return c.page(q), nil
	}
	var docs []store.Doc
	for id, d := range c.docs {
		if index(d.fields, q.OrderBy) < 0 || !passes(q, d) {
			continue
		}
		doc := d.doc(child(q.Collection, id))
		if q.After == nil || position(q, q.After, &doc) < 0 {
			docs = append(docs, doc)
		}
	}
	return docs, nil
}

// page returns one page by id.
func (c *collection) page(q *store.Query) []store.Doc {
	if c.ids == nil {
		c.ids = slices.AppendSeq(make([]string, 0, len(c.docs)), maps.Keys(c.docs))
		slices.Sort(c.ids)
	}
	ids := c.ids
	if q.After != nil {
		at, found := slices.BinarySearch(ids, q.After.Path.ID())
		if found {
			at++
		}
		ids = ids[at:]
	}
	var docs []store.Doc
	for _, id := range ids {
		if len(docs) == q.Limit {
			break
		}
		if d := c.docs[id]; passes(q, d) {
			docs = append(docs, d.doc(child(q.Collection, id)))
		}
	}
	return docs
}

func child(c store.Path, id string) store.Path { return c + "/" + store.Path(id) }

// position compares documents in the query's order.
func position(q *store.Query, a, b *store.Doc) int {
	n := cmp.Or(compare(a.Fields.Get(q.OrderBy), b.Fields.Get(q.OrderBy)), cmp.Compare(a.Path.ID(), b.Path.ID()))
	if q.Descending {
		return -n
	}
	return n
}

func passes(q *store.Query, d *document) bool {
	for i := range q.Where {
		f := &q.Where[i]
		j := index(d.fields, f.Field)
		if j < 0 {
			return false
		}
		v := d.fields[j].Value
		if f.Op == store.Equal {
			if compare(v, f.Value) != 0 {
				return false
			}
			continue
		}
		l, _ := v.([]any)
		if !slices.ContainsFunc(l, func(e any) bool { return compare(e, f.Value) == 0 }) {
			return false
		}
	}
	return true
}
