package query_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/query"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

var received = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)

// event is one of a tenant's visitor, n minutes after the first.
func event(tenant visitor.TenantID, email string, n int) *visitor.Event {
	at := received.Add(time.Duration(n) * time.Minute)
	ev := &visitor.Event{
		Type: visitor.TypeVisitorIdentified, TenantID: tenant, Source: "midbound", IdentifiedAt: at,
		ID:      visitor.NewEventID("midbound", tenant, email, n),
		Receipt: visitor.Receipt{ReceivedAt: at},
		Person:  visitor.Person{Emails: []visitor.Email{{Address: email}}},
	}
	ev.VisitorID = ev.Visitor()
	return ev
}

// setup stores the events as the daemon does.
func setup(t *testing.T, events ...*visitor.Event) store.Store {
	t.Helper()
	s := memstore.New(memstore.Options{})
	visitors := map[visitor.VisitorID]*profile.Visitor{}
	for _, ev := range events {
		v := visitors[ev.VisitorID]
		if v == nil {
			v = profile.Load(store.Doc{})
			visitors[ev.VisitorID] = v
		}
		v.Merge(ev, ev.ID)
		r := profile.Record{Event: ev, FirstMatch: v.Events == 1, ProcessedAt: received, ExpireAt: received}
		vp, err := layout.Visitor(ev.TenantID, ev.VisitorID)
		if err != nil {
			t.Fatal(err)
		}
		ip, err := layout.Identification(ev.TenantID, ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), []store.Write{
			{Path: vp, Fields: v.Fields(received)}, {Path: ip, Fields: r.Fields(), IfMissing: true},
		}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func ids[T any](list []T, id func(T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = id(list[i])
	}
	return out
}

func visitorIDs(list []visitor.Profile) []string {
	return ids(list, func(p visitor.Profile) string { return string(p.ID) })
}

func TestVisitors(t *testing.T) {
	t.Parallel()
	ada, bob, other := event("acme", "ada@example.com", 0), event("acme", "bob@example.com", 1), event("globex", "ada@example.com", 2)
	s := setup(t, ada, bob, other)
	got, err := query.Visitors(t.Context(), s, "acme", 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{string(bob.VisitorID), string(ada.VisitorID)}, visitorIDs(got)); diff != "" {
		t.Errorf("visitors, last seen first (-want +got):\n%s", diff)
	}
	for _, p := range got {
		if p.TenantID != "acme" {
			t.Errorf("visitor of tenant %q", p.TenantID)
		}
	}
	if got, err = query.Visitors(t.Context(), s, "acme", 1); err != nil || len(got) != 1 {
		t.Errorf("limit 1 gives %d, %v", len(got), err)
	}
	by := visitor.Identifier{Kind: visitor.IdentifierEmail, Value: "ada@example.com"}
	if got, err = query.VisitorsBy(t.Context(), s, "acme", by, 10); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{string(ada.VisitorID)}, visitorIDs(got)); diff != "" {
		t.Errorf("visitors by e-mail (-want +got):\n%s", diff)
	}
}

func TestVisitor(t *testing.T) {
	t.Parallel()
	ada := event("acme", "ada@example.com", 0)
	s := setup(t, ada)
	got, err := query.Visitor(t.Context(), s, "acme", ada.VisitorID)
	if err != nil || got.ID != ada.VisitorID || got.Events != 1 {
		t.Errorf("visitor %+v, %v", got, err)
	}
	for _, tc := range []struct {
		tenant visitor.TenantID
		id     visitor.VisitorID
	}{{"globex", ada.VisitorID}, {"acme", "vis_none"}, {"acme", "a/b"}, {"acme", ""}} {
		if _, err := query.Visitor(t.Context(), s, tc.tenant, tc.id); !errors.Is(err, query.ErrNotFound) {
			t.Errorf("visitor %q of %q: error %v, want %v", tc.id, tc.tenant, err, query.ErrNotFound)
		}
	}
}

func TestIdentifications(t *testing.T) {
	t.Parallel()
	first, second := event("acme", "ada@example.com", 0), event("acme", "ada@example.com", 1)
	s := setup(t, first, second, event("acme", "bob@example.com", 2))
	got, err := query.Identifications(t.Context(), s, "acme", first.VisitorID, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{string(second.ID), string(first.ID)}
	if diff := cmp.Diff(want, ids(got, func(p profile.Stored) string { return string(p.ID) })); diff != "" {
		t.Errorf("identifications, received last first (-want +got):\n%s", diff)
	}
	if got[0].FirstMatch || !got[1].FirstMatch {
		t.Error("the first match is not the first")
	}
	one, err := query.Identification(t.Context(), s, "acme", second.ID)
	if err != nil || one.ID != second.ID || one.Event.VisitorID != second.VisitorID {
		t.Errorf("identification %+v, %v", one, err)
	}
	for _, id := range []visitor.EventID{"evt_none", "a/b"} {
		if _, err := query.Identification(t.Context(), s, "acme", id); !errors.Is(err, query.ErrNotFound) {
			t.Errorf("identification %q: error %v, want %v", id, err, query.ErrNotFound)
		}
	}
	if _, err := query.Identification(t.Context(), s, "globex", second.ID); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("identification of another tenant: error %v", err)
	}
}

// TestErrors asks a store that cannot answer, and for a tenant that cannot be.
func TestErrors(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := memstore.New(memstore.Options{})
	for name, do := range map[string]func(ctx context.Context, t visitor.TenantID) error{
		"visitors": func(ctx context.Context, t visitor.TenantID) error {
			_, err := query.Visitors(ctx, s, t, 1)
			return err
		},
		"visitors by": func(ctx context.Context, t visitor.TenantID) error {
			_, err := query.VisitorsBy(ctx, s, t, visitor.Identifier{}, 1)
			return err
		},
		"visitor": func(ctx context.Context, t visitor.TenantID) error {
			_, err := query.Visitor(ctx, s, t, "vis_x")
			return err
		},
		"identifications": func(ctx context.Context, t visitor.TenantID) error {
			_, err := query.Identifications(ctx, s, t, "vis_x", 1)
			return err
		},
		"identification": func(ctx context.Context, t visitor.TenantID) error {
			_, err := query.Identification(ctx, s, t, "evt_x")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := do(ctx, "acme"); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want %v", err, context.Canceled)
			}
			if err := do(context.WithoutCancel(ctx), "a/b"); err == nil {
				t.Error("tenant a/b: no error")
			}
		})
	}
}
