package books_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit/books"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	shards = 2
	acme   = visitor.TenantID("acme")
)

// midnight is between two months.
var midnight = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func event(n int, of visitor.TenantID, who string, at time.Time) *visitor.Event {
	ev := &visitor.Event{
		Schema: visitor.Schema, ID: visitor.NewEventID("midbound", of, fmt.Sprint(n), 0), Type: visitor.TypeVisitorIdentified,
		TenantID: of, Source: "midbound", Origin: visitor.OriginWebhook, IdentifiedAt: at,
		Receipt: visitor.Receipt{ReceivedAt: at},
	}
	if who != "" {
		ev.Person.Emails = []visitor.Email{{Address: who + "@example.com"}}
	}
	ev.VisitorID = ev.Visitor()
	return ev
}

// events are of two tenants, two visitors, two months and one without a visitor.
func events() []*visitor.Event {
	return []*visitor.Event{
		event(1, acme, "ada", midnight.Add(-time.Hour)), event(2, acme, "ada", midnight), event(3, acme, "grace", midnight),
		event(4, acme, "", midnight), event(5, "globex", "ada", midnight),
	}
}

// kept is a store with books that balance: written by the code that writes the real ones.
func kept(t *testing.T) (*memstore.Store, *books.Expected) {
	t.Helper()
	s, want := memstore.New(memstore.Options{}), &books.Expected{}
	for _, ev := range events() {
		want.Add(ev)
		add(t, s, ev)
	}
	want.Add(events()[0]) // published twice
	m := &queue.Message{Data: []byte("junk")}
	want.AddPoison(m, envelope.ReasonUndecodable)
	park(t, s, "dl_1", m.Attributes, envelope.ReasonUndecodable)
	return s, want
}

// add stores an event as the daemon does.
func add(t *testing.T, s store.Store, ev *visitor.Event) {
	t.Helper()
	c, err := commit.New(commit.Options{
		Store: s, Now: time.Now, MaxEvents: 100, MaxBytes: 1 << 20, Concurrency: 1, Timeout: time.Minute,
		Shards: shards, CacheSize: 100, Retention: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Add(t.Context(), &commit.Item{
		Event: ev, Tenant: &tenant.Tenant{ID: ev.TenantID}, Bytes: 1000,
		Effects: []processor.Effect{processor.Record{}, processor.Meter{}, processor.MergeVisitor{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func park(t *testing.T, s store.Store, id string, attributes map[string]string, reason envelope.Reason) {
	t.Helper()
	b, err := json.Marshal(attributes)
	if err != nil {
		t.Fatal(err)
	}
	path, err := layout.DeadLetter(id)
	write(t, s, path, err, store.Fields{{Name: "attributes", Value: b}, {Name: "reason", Value: string(reason)}})
}

// write changes some fields of a document behind everybody's back; without fields it deletes it.
func write(t *testing.T, s store.Store, p store.Path, err error, f store.Fields) {
	t.Helper()
	if err == nil {
		err = s.Commit(t.Context(), []store.Write{{Path: p, Fields: f, Merge: len(f) > 0, Delete: len(f) == 0}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBooksThatBalance(t *testing.T) {
	t.Parallel()
	s, want := kept(t)
	got, err := want.Check(t.Context(), s, shards)
	if err != nil {
		t.Fatal(err)
	}
	full := &books.Report{Distinct: 5, Stored: 5, Counters: true, FirstMatch: true, Letters: 1, Parked: true}
	if d := cmp.Diff(full, got, cmpopts.IgnoreUnexported(books.Report{})); d != "" || !got.Balanced() {
		t.Errorf("report (-want +got):\n%s", d)
	}
	if want.Distinct() != 5 || want.Messages() != 7 || want.Poison() != 1 {
		t.Errorf("distinct %d, messages %d, poison %d", want.Distinct(), want.Messages(), want.Poison())
	}
}

// TestDeviations: whatever is wrong with the books is seen, and by the part of the report that is about it.
func TestDeviations(t *testing.T) {
	t.Parallel()
	first, third := events()[0], events()[2]
	record, recordErr := layout.Identification(acme, third.ID)
	profile, profileErr := layout.Visitor(acme, third.VisitorID)
	tests := []struct {
		name  string
		spoil func(*testing.T, *memstore.Store, *books.Expected)
		says  string
		lost  int
		twice int64
		wrong string // of counters, first match, parked
	}{
		{
			name: "an event is missing", lost: 1, wrong: "counters first", says: "lacks 1 of 4 events",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) { write(t, s, record, recordErr, nil) },
		},
		{
			name: "an event was expected and never came", lost: 1, wrong: "counters first", says: "lacks 1 of 5 events",
			spoil: func(_ *testing.T, _ *memstore.Store, e *books.Expected) { e.Add(event(9, acme, "linus", midnight)) },
		},
		{
			name: "a whole tenant is missing", lost: 1, wrong: "counters first", says: "tenant other lacks 1 of 1",
			spoil: func(_ *testing.T, _ *memstore.Store, e *books.Expected) { e.Add(event(9, "other", "linus", midnight)) },
		},
		{
			name: "an event is there that nobody published", twice: 2, wrong: "counters first", says: "nobody published: evt_",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) { add(t, s, event(9, acme, "ada", midnight)) },
		},
		{
			name: "counted twice", twice: 1, wrong: "counters", says: "usage is {Events:5",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) { bump(t, s, []string{"events"}) },
		},
		{
			name: "a first match counted twice", wrong: "counters", says: "Identifications:3",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) { bump(t, s, []string{"identifications"}) },
		},
		{
			name: "counted on the wrong day", wrong: "counters", says: "usage of 2026-11-01",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				bump(t, s, []string{"days", "2026-11-01", "events"})
			},
		},
		{
			name: "counted on a day of nobody", wrong: "counters", says: "counts 2026-11-30, of which nothing",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				bump(t, s, []string{"days", "2026-11-30", "events"})
			},
		},
		{
			name: "counted for the wrong source", wrong: "counters", says: "counts leadpipe",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				bump(t, s, []string{"sources", "leadpipe", "events"})
			},
		},
		{
			name: "two first matches", wrong: "counters first", says: "has 2 first matches",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				p, err := layout.Identification(acme, events()[1].ID)
				write(t, s, p, err, store.Fields{{Name: "first_match", Value: true}})
			},
		},
		{
			name: "no first match", wrong: "counters first", says: "has 0 first matches",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				write(t, s, record, recordErr, store.Fields{{Name: "first_match", Value: false}})
			},
		},
		{
			name: "a first match without a visitor", wrong: "counters first", says: `first match of ""`,
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				p, err := layout.Identification(acme, events()[3].ID)
				write(t, s, p, err, store.Fields{{Name: "first_match", Value: true}})
			},
		},
		{
			name: "a visitor is missing", wrong: "first", says: "1 of 2 visitors are missing",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) { write(t, s, profile, profileErr, nil) },
		},
		{
			name: "a visitor moved twice", wrong: "first", says: "has 2 events, want 1",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				write(t, s, profile, profileErr, store.Fields{{Name: "events", Value: int64(2)}})
			},
		},
		{
			name: "a visitor of nobody", wrong: "first", says: "vis_x, whom nobody published",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				p, err := layout.Visitor(acme, "vis_x")
				write(t, s, p, err, store.Fields{{Name: "events", Value: int64(1)}})
			},
		},
		{
			name: "another tenant's record", says: "tenant acme holds a record of globex",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				write(t, s, record, recordErr, store.Fields{{Name: "tenant_id", Value: "globex"}})
			},
		},
		{
			name: "another visitor's record", wrong: "first", says: "names another visitor",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				write(t, s, record, recordErr, store.Fields{{Name: "visitor_id", Value: string(first.VisitorID)}})
			},
		},
		{
			name: "poison that is no dead letter", wrong: "parked", says: "1 of 2 poisonous messages are no dead letters",
			spoil: func(_ *testing.T, _ *memstore.Store, e *books.Expected) {
				e.AddPoison(&queue.Message{}, envelope.ReasonStale)
			},
		},
		{
			name: "a dead letter that was no poison", wrong: "parked", says: "was no poison: stale",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				park(t, s, "dl_2", nil, envelope.ReasonStale)
			},
		},
		{
			name: "poison that is two dead letters", wrong: "parked", says: "poison 0 is 2 dead letters",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				park(t, s, "dl_2", map[string]string{books.AttrPoison: "0"}, envelope.ReasonUndecodable)
			},
		},
		{
			name: "poison parked for another reason", wrong: "parked", says: "poison 0 was parked as stale",
			spoil: func(t *testing.T, s *memstore.Store, _ *books.Expected) {
				park(t, s, "dl_1", map[string]string{books.AttrPoison: "0"}, envelope.ReasonStale)
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, want := kept(t)
			tt.spoil(t, s, want)
			r, err := want.Check(t.Context(), s, shards)
			if err != nil {
				t.Fatal(err)
			}
			if r.Balanced() || r.Lost != tt.lost || r.Duplicated != tt.twice || !strings.Contains(strings.Join(r.Deviations, "\n"), tt.says) {
				t.Errorf("lost %d, duplicated %d, deviations %q; want %d, %d and %q", r.Lost, r.Duplicated, r.Deviations, tt.lost, tt.twice, tt.says)
			}
			for part, ok := range map[string]bool{"counters": r.Counters, "first": r.FirstMatch, "parked": r.Parked} {
				if want := !strings.Contains(tt.wrong, part); ok != want {
					t.Errorf("%s exact: %v, want %v", part, ok, want)
				}
			}
		})
	}
}

// bump adds one to a counter of November.
func bump(t *testing.T, s store.Store, field []string) {
	t.Helper()
	p, err := layout.UsageShard(acme, "2026-11", 0)
	if err == nil {
		err = s.Commit(t.Context(), []store.Write{{Path: p, Add: []store.Increment{{Field: field, N: 1}}}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeviationsAreTold_upToALimit(t *testing.T) {
	t.Parallel()
	s, want := kept(t)
	const letters = 3 * books.MaxDeviations
	for n := range letters {
		park(t, s, fmt.Sprint("dl_x", n), nil, envelope.ReasonStale)
	}
	r, err := want.Check(t.Context(), s, shards)
	if err != nil {
		t.Fatal(err)
	}
	last := r.Deviations[len(r.Deviations)-1]
	if len(r.Deviations) != books.MaxDeviations+1 || !strings.HasPrefix(last, fmt.Sprint(letters-books.MaxDeviations, " more such")) {
		t.Errorf("deviations %q", r.Deviations)
	}
}

func TestCheckTellsWhenItCannotRead(t *testing.T) {
	t.Parallel()
	s, want := kept(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // it tries again for a while
		if r, err := want.Check(t.Context(), s, shards); err == nil {
			t.Errorf("a closed store gave the report %+v", r)
		}
	})
}
