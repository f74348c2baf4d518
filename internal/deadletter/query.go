package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// ErrNotFound is returned for a dead letter that is not stored.
var ErrNotFound = errors.New("no such dead letter")

// Filter says which dead letters are meant; empty fields mean any.
type Filter struct {
	Tenant   visitor.TenantID
	Reason   envelope.Reason
	Class    envelope.Class
	Source   string
	Endpoint string
	Status   Status
	Since    time.Time // parked at or after
	Until    time.Time // parked before
}

// Reasons are all that a dead letter may have.
func Reasons() []envelope.Reason { return append(envelope.Reasons(), ReasonForwarded) }

// IsZero reports whether the filter means every dead letter.
func (f *Filter) IsZero() bool { return *f == Filter{} }

// Indexed are the fields that dead letters are filtered by on the server, the most telling first. Each needs a
// composite index with parked_at, descending.
var Indexed = []string{"tenant_id", "endpoint", "source", "reason", "class", "status"}

// equals are the filter's conditions in the order of [Indexed].
func (f *Filter) equals() []store.Filter {
	values := []string{string(f.Tenant), f.Endpoint, f.Source, string(f.Reason), string(f.Class), string(f.Status)}
	var out []store.Filter
	for i, name := range Indexed {
		if values[i] != "" {
			out = append(out, store.Filter{Field: name, Op: store.Equal, Value: values[i]})
		}
	}
	return out
}

// Cursor is a place in a listing; the zero Cursor is its begin, and its end.
type Cursor struct {
	ParkedAt time.Time
	ID       string
}

// MaxPage is the most records that one List returns.
const MaxPage = 100

// List returns the next records that pass a filter, the one parked last first, at most limit (1 to [MaxPage]), and
// where to go on: the zero Cursor means that there are no more. One condition is the query's, the others are applied
// to what it returns.
func List(ctx context.Context, s store.Store, f Filter, after Cursor, limit int) ([]Record, Cursor, error) {
	limit = min(max(limit, 1), MaxPage)
	conditions := f.equals()
	q := store.Query{
		Collection: layout.DeadLetterCollection(), OrderBy: "parked_at", Descending: true, Limit: MaxPage,
		Where: conditions[:min(1, len(conditions))],
	}
	if after == (Cursor{}) && !f.Until.IsZero() {
		after = Cursor{f.Until.UTC(), "0"} // before the first id, so behind the last in descending order
	}
	var out []Record
	for {
		var err error
		if q.After, err = after.doc(); err != nil {
			return nil, Cursor{}, err
		}
		docs, err := s.Query(ctx, q)
		if err != nil {
			return nil, Cursor{}, fmt.Errorf("list dead letters: %w", err)
		}
		for i := range docs {
			r := load(docs[i])
			after = Cursor{r.ParkedAt, r.ID}
			switch {
			case !f.Since.IsZero() && r.ParkedAt.Before(f.Since):
				return out, Cursor{}, nil
			case passes(docs[i].Fields, conditions):
				out = append(out, r)
			}
			if len(out) == limit {
				return out, after, nil
			}
		}
		if len(docs) < q.Limit {
			return out, Cursor{}, nil
		}
	}
}

// doc is the cursor for a query, nil for the begin.
func (c Cursor) doc() (*store.Doc, error) {
	if c == (Cursor{}) {
		return nil, nil
	}
	p, err := layout.DeadLetter(c.ID)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return &store.Doc{Path: p, Fields: store.Fields{{Name: "parked_at", Value: c.ParkedAt}}}, nil
}

func passes(f store.Fields, conditions []store.Filter) bool {
	return !slices.ContainsFunc(conditions, func(c store.Filter) bool { return f.Get(c.Field) != c.Value })
}

// Get returns one record, or [ErrNotFound].
func Get(ctx context.Context, s store.Store, id string) (*Record, error) {
	recs, err := read(ctx, s, []string{id})
	if err != nil {
		return nil, err
	}
	if len(recs) == 0 {
		return nil, ErrNotFound
	}
	return &recs[0], nil
}

// read returns those of some records that are stored.
func read(ctx context.Context, s store.Store, ids []string) ([]Record, error) {
	var paths []store.Path
	for _, id := range ids {
		if p, err := layout.DeadLetter(id); err == nil { // what cannot be an id is not stored
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	docs, err := s.Get(ctx, paths)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	var out []Record
	for i := range docs {
		if docs[i].Exists {
			out = append(out, load(docs[i]))
		}
	}
	return out, nil
}

// Payload returns what was parked, decompressed: a message's data or a webhook's body. It is personal data. The error
// is [ErrPayload] where it is damaged.
func Payload(ctx context.Context, s store.Store, rec *Record) ([]byte, error) {
	b, err := compressed(ctx, s, rec)
	if err != nil {
		return nil, err
	}
	out, err := envelope.Decompress(b)
	if err != nil {
		return nil, ErrPayload
	}
	return out, nil
}
