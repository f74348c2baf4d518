// Package query reads what is stored for one tenant: its visitors and its identifications.
//
// Every function takes the tenant and reads below that tenant's document only.
package query

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/store"
)

// ErrNotFound is returned for a visitor or an identification that is not stored.
var ErrNotFound = errors.New("not found")

// MaxLimit is the most that one call returns.
const MaxLimit = store.MaxLimit

// Visitors returns a tenant's visitors, the one seen last first.
func Visitors(ctx context.Context, s store.Store, t visitor.TenantID, limit int) ([]visitor.Profile, error) {
	return visitors(ctx, s, t, store.Query{OrderBy: "last_seen", Descending: true, Limit: limit})
}

// VisitorsBy returns the visitors that an identifier was seen with, in the order of their ids. The identifier
// is looked up by its hash.
func VisitorsBy(
	ctx context.Context, s store.Store, t visitor.TenantID, id visitor.Identifier, limit int,
) ([]visitor.Profile, error) {
	return visitors(ctx, s, t, store.Query{
		Where: []store.Filter{{
			Field: "identifiers", Op: store.ArrayContains, Value: visitor.HashIdentifier(t, id),
		}},
		Limit: limit,
	})
}

func visitors(ctx context.Context, s store.Store, t visitor.TenantID, q store.Query) ([]visitor.Profile, error) {
	var err error
	if q.Collection, err = layout.VisitorCollection(t); err != nil {
		return nil, fmt.Errorf("query visitors: %w", err)
	}
	docs, err := s.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("query visitors: %w", err)
	}
	out := make([]visitor.Profile, len(docs))
	for i := range docs {
		out[i] = load(docs[i], t)
	}
	return out, nil
}

func load(d store.Doc, t visitor.TenantID) visitor.Profile {
	p := profile.Load(d).Profile
	p.ID, p.TenantID = visitor.VisitorID(d.Path.ID()), t
	return p
}

// Visitor returns one visitor, or [ErrNotFound].
func Visitor(ctx context.Context, s store.Store, t visitor.TenantID, id visitor.VisitorID) (*visitor.Profile, error) {
	p, err := layout.Visitor(t, id)
	if err != nil {
		return nil, ErrNotFound // what cannot be an id is nobody's
	}
	docs, err := s.Get(ctx, []store.Path{p})
	if err != nil {
		return nil, fmt.Errorf("read visitor: %w", err)
	}
	if !docs[0].Exists {
		return nil, ErrNotFound
	}
	v := load(docs[0], t)
	return &v, nil
}

// Identifications returns a visitor's identifications, the one received last first. Firestore wants an index of
// visitor_id with received_at, descending, for it.
func Identifications(
	ctx context.Context, s store.Store, t visitor.TenantID, id visitor.VisitorID, limit int,
) ([]profile.Stored, error) {
	c, err := layout.IdentificationCollection(t)
	if err != nil {
		return nil, fmt.Errorf("query identifications: %w", err)
	}
	docs, err := s.Query(ctx, store.Query{
		Collection: c, OrderBy: "received_at", Descending: true, Limit: limit,
		Where: []store.Filter{{Field: "visitor_id", Op: store.Equal, Value: string(id)}},
	})
	if err != nil {
		return nil, fmt.Errorf("query identifications: %w", err)
	}
	out := make([]profile.Stored, len(docs))
	for i := range docs {
		out[i] = profile.LoadIdentification(docs[i])
	}
	return out, nil
}

// Identification returns one identification, or [ErrNotFound].
func Identification(ctx context.Context, s store.Store, t visitor.TenantID, id visitor.EventID) (*profile.Stored, error) {
	p, err := layout.Identification(t, id)
	if err != nil {
		return nil, ErrNotFound
	}
	docs, err := s.Get(ctx, []store.Path{p})
	if err != nil {
		return nil, fmt.Errorf("read identification: %w", err)
	}
	if !docs[0].Exists {
		return nil, ErrNotFound
	}
	st := profile.LoadIdentification(docs[0])
	return &st, nil
}
