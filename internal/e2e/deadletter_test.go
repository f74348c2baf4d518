package e2e_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit"
)

// parking are the backends of these tests. The twin loses no answer to a publish: what the test publishes would be there
// twice, and junk has no other identity than its message.
var parking = map[string]func(*testing.T, *config.Config) (*app.Backend, *fault.Injector){
	"emulators": backends["emulators"],
	"twins": func(t *testing.T, _ *config.Config) (*app.Backend, *fault.Injector) {
		t.Helper()
		faults := fault.New(4, fault.Plan{
			fault.Redelivered: 0.05, fault.LeaseExpired: 0.05, fault.Reordered: 0.05, fault.PublishFails: 0.05, fault.NoAttempt: 0.1,
		})
		return &app.Backend{
			Store: memstore.New(memstore.Options{Faults: fault.New(3, fault.Plan{
				fault.Aborted: 0.05, fault.LostResponse: 0.05, fault.LateApply: 0.02,
			})}),
			Queue: memqueue.New(memqueue.Options{Faults: faults}),
		}, faults
	},
}

// broken is a processor that fails until it is mended: for good on some events, for now on others.
type broken struct{ mended *atomic.Bool }

func (broken) Register() processor.Registration {
	return processor.Registration{Name: "broken", Version: "1.0.0", Title: "Broken", Description: "A test's own."}
}

func (b broken) Configure(processor.Settings) (processor.Handler, error) {
	return processor.HandlerFunc(func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
		switch {
		case b.mended.Load():
			return processor.Result{}, nil
		case ev.SourceEventID == "for now":
			return processor.Result{}, errors.New("not now")
		}
		return processor.Result{}, processor.Permanent(errors.New("never"))
	}), nil
}

// impatient has the queue give messages up after as few attempts as may be.
func impatient(open func(*testing.T, *config.Config) (*app.Backend, *fault.Injector)) func(*testing.T, *config.Config) (*app.Backend, *fault.Injector) {
	return func(t *testing.T, cfg *config.Config) (*app.Backend, *fault.Injector) {
		t.Helper()
		b, faults := open(t, cfg)
		top := app.Topology(cfg)
		for i := range top.Subscriptions {
			s := &top.Subscriptions[i]
			s.MinBackoff, s.MaxBackoff = 100*time.Millisecond, 200*time.Millisecond
			if s.DeadLetterTopic != "" {
				s.MaxAttempts = queue.MinAttempts
			}
		}
		if err := b.Queue.Create(t.Context(), top); err != nil {
			t.Fatal(err)
		}
		return b, faults
	}
}

// create creates a tenant, trying again where the twin's faults get in the way.
func (s *system) create(t *testing.T, tn tenant.Tenant) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func(ctx context.Context) bool {
		_, err := s.dir.Create(ctx, &tn)
		return err == nil || errors.Is(err, directory.ErrExists)
	}, "tenant is created")
}

// send publishes until it is acknowledged.
func (s *system) send(t *testing.T, topic string, m *queue.Message) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func(ctx context.Context) bool {
		_, err := s.backend.Queue.Publisher(topic).Publish(ctx, m)
		return err == nil
	}, "message is published")
}

// letters lists the dead letters that pass a filter.
func (s *system) letters(t *testing.T, f deadletter.Filter) (out []deadletter.Record) {
	t.Helper()
	var after deadletter.Cursor
	for {
		page, next, err := deadletter.List(t.Context(), s.backend.Store, f, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, page...); next == (deadletter.Cursor{}) {
			return out
		}
		after = next
	}
}

// redrive redrives as the command does, until a run is not broken off by the twin's faults. Its report sums up the runs.
func (s *system) redrive(t *testing.T, sel deadletter.Selection, again bool) *deadletter.Report {
	t.Helper()
	r, err := app.OpenRedriver(t.Context(), s.cfg, &app.Operator{Store: s.backend.Store, Tenants: s.dir}, "", true)
	if err != nil {
		t.Fatal(err)
	}
	o := r.Options
	o.DryRun, o.Again, o.Operator, o.Events = false, again, "ada", s.backend.Queue.Publisher(s.cfg.PubSub.Topic)
	var sum deadletter.Report
	testkit.Eventually(t, time.Minute, func(ctx context.Context) bool {
		rep, err := deadletter.Redrive(ctx, s.backend.Store, sel, o)
		if rep == nil {
			return false
		}
		sum.AuditID, sum.Redriven, sum.Published = rep.AuditID, sum.Redriven+rep.Redriven, sum.Published+rep.Published
		sum.Refused, sum.Refusals = rep.Refused, rep.Refusals
		return err == nil
	}, "a redrive comes to its end")
	return &sum
}

// eventMessage is the message of an event, with an id of its vendor's.
func eventMessage(t *testing.T, of visitor.TenantID, id, key string) *queue.Message {
	t.Helper()
	now := time.Now().UTC()
	m, err := envelope.Encode(&visitor.Event{
		Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: of, Source: "midbound",
		ID: visitor.NewEventID("midbound", of, key, 0), SourceEventID: id, Origin: visitor.OriginWebhook,
		IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
		Person: visitor.Person{Emails: []visitor.Email{{Address: key + "@example.com"}}},
	}, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func with(m *queue.Message, change func(*queue.Message)) *queue.Message {
	change(m)
	return m
}

// causes are messages that are parked, by what is wrong with them.
func causes(t *testing.T) map[envelope.Reason][]*queue.Message {
	t.Helper()
	return map[envelope.Reason][]*queue.Message{
		envelope.ReasonUndecodable: {
			{Data: []byte("junk")},
			with(eventMessage(t, "acme", "", "utf8"), func(m *queue.Message) { // what is no UTF-8 is no JSON
				m.Data = []byte(strings.Replace(string(m.Data), "utf8@", "\xff\xfe@", 1))
			}),
		},
		envelope.ReasonUnknownTenant: {eventMessage(t, "later", "", "unknown")},
		envelope.ReasonTenantMismatch: {with(eventMessage(t, "acme", "", "mismatch"), func(m *queue.Message) {
			m.Attributes[envelope.AttrTenant] = "globex"
		})},
		envelope.ReasonProcessor:   {eventMessage(t, "strict", "for good", "permanent")},
		deadletter.ReasonForwarded: {eventMessage(t, "strict", "for now", "forwarded")},
	}
}

// TestDeadLetters takes what is parked for every kind of reason through listing, redriving and purging.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	for name, open := range parking {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mended := &atomic.Bool{}
			began := time.Now().UTC()
			s := start(t, impatient(open), broken{mended})
			s.createTenants(t, []simulate.Tenant{{ID: "acme"}})
			s.create(t, tenant.Tenant{ID: "strict", Processors: []tenant.Binding{{Name: "broken"}, {Name: "profile"}}})
			want := map[envelope.Reason]int{}
			for reason, messages := range causes(t) {
				for _, m := range messages {
					s.send(t, s.cfg.PubSub.Topic, m)
					want[reason]++
				}
			}
			// A webhook that ingest parks: its domain is nobody's yet.
			body := `{"domain":"www.later.example","email":"webhook@example.com"}`
			testkit.Eventually(t, time.Minute, func(context.Context) bool {
				status, _ := s.post(t, "leadpipe", "", "", []byte(body))
				return status < 300
			}, "the webhook is quarantined")
			want[envelope.ReasonUnknownTenant]++

			s.awaitParked(t, want)
			s.checkFilters(t, want, began)
			s.checkForwarded(t)
			s.checkMending(t, mended, began)
			s.checkPurge(t)
		})
	}
}

// awaitParked waits until each cause has its dead letters. The twin may deliver, and park, a message twice: still one.
func (s *system) awaitParked(t *testing.T, want map[envelope.Reason]int) {
	t.Helper()
	var got map[envelope.Reason]int
	defer func() {
		if t.Failed() {
			t.Logf("parked: %v, want %v", got, want)
		}
	}()
	testkit.Eventually(t, time.Minute, func(context.Context) bool {
		got = map[envelope.Reason]int{}
		for _, r := range s.letters(t, deadletter.Filter{Status: deadletter.Parked}) {
			got[r.Reason]++
		}
		return maps.Equal(got, want)
	}, "every cause has its dead letters")
}

// checkFilters lists by each filter, and compares with a filter over everything.
func (s *system) checkFilters(t *testing.T, want map[envelope.Reason]int, began time.Time) {
	t.Helper()
	all := s.letters(t, deadletter.Filter{})
	middle := all[len(all)/2].ParkedAt
	for name, f := range map[string]struct {
		filter deadletter.Filter
		passes func(*deadletter.Record) bool
	}{
		"tenant":   {deadletter.Filter{Tenant: "strict"}, func(r *deadletter.Record) bool { return r.TenantID == "strict" }},
		"class":    {deadletter.Filter{Class: envelope.ClassTenant}, func(r *deadletter.Record) bool { return r.Class == envelope.ClassTenant }},
		"source":   {deadletter.Filter{Source: "leadpipe"}, func(r *deadletter.Record) bool { return r.Source == "leadpipe" }},
		"endpoint": {deadletter.Filter{Endpoint: "leadpipe"}, func(r *deadletter.Record) bool { return r.Kind == deadletter.KindWebhook }},
		"since":    {deadletter.Filter{Since: middle}, func(r *deadletter.Record) bool { return !r.ParkedAt.Before(middle) }},
		"until":    {deadletter.Filter{Until: middle}, func(r *deadletter.Record) bool { return r.ParkedAt.Before(middle) }},
		"several": {
			deadletter.Filter{Reason: envelope.ReasonUnknownTenant, Source: "midbound", Since: began.Add(-time.Minute)},
			func(r *deadletter.Record) bool { return r.TenantID == "later" },
		},
	} {
		expected := slices.DeleteFunc(ids(all, f.passes), func(id string) bool { return id == "" })
		if got := ids(s.letters(t, f.filter), nil); !slices.Equal(got, expected) || len(got) == 0 || len(got) == len(all) {
			t.Errorf("by %s: %v, want %v", name, got, expected)
		}
	}
	for reason, n := range want {
		if got := s.letters(t, deadletter.Filter{Reason: reason}); len(got) != n {
			t.Errorf("by reason %s: %d, want %d", reason, len(got), n)
		}
	}
}

// ids are those of the records that pass, in their order.
func ids(records []deadletter.Record, passes func(*deadletter.Record) bool) (out []string) {
	for i := range records {
		if passes == nil || passes(&records[i]) {
			out = append(out, records[i].ID)
		}
	}
	return out
}

// checkForwarded looks at what Pub/Sub itself forwarded: it is the message as it was, with its attempts.
func (s *system) checkForwarded(t *testing.T) {
	t.Helper()
	list := s.letters(t, deadletter.Filter{Reason: deadletter.ReasonForwarded})
	if len(list) != 1 {
		t.Fatalf("%d were forwarded, want 1", len(list))
	}
	r := &list[0]
	if r.Attempts < queue.MinAttempts || r.TenantID != "strict" || r.Class != envelope.ClassPipeline || r.PublishedAt.IsZero() || r.ReceivedAt.IsZero() {
		t.Errorf("forwarded: %+v", r)
	}
	data, err := deadletter.Payload(t.Context(), s.backend.Store, r)
	if err != nil || !strings.Contains(string(data), "forwarded@example.com") {
		t.Errorf("payload of %d bytes, %v", len(data), err)
	}
}

// checkMending redrives while nothing is mended, mends what can be, and redrives again and again: everything takes
// effect once.
func (s *system) checkMending(t *testing.T, mended *atomic.Bool, began time.Time) {
	t.Helper()
	webhook := deadletter.Selection{Filter: deadletter.Filter{Endpoint: "leadpipe"}}
	if r := s.redrive(t, webhook, false); r.Refused != 1 || r.Refusals[0].Reason != envelope.ReasonUnknownTenant {
		t.Errorf("redrive of a webhook whose tenant is still missing: %+v", r)
	}
	s.create(t, tenant.Tenant{ID: "later", Domains: []string{"www.later.example"}})
	mended.Store(true)
	// Junk stays junk: its copy is parked again, as a message of its own.
	r := s.redrive(t, deadletter.Selection{Filter: deadletter.Filter{Status: deadletter.Parked}}, false)
	if r.Refused != 0 {
		t.Errorf("redrive after mending: %+v", r)
	}
	docs, err := s.backend.Store.Get(t.Context(), []store.Path{store.Path("operator_audit/" + r.AuditID)})
	if err != nil || docs[0].Fields.Text("operator") != "ada" || docs[0].Fields.Text("outcome") != "done" || docs[0].Fields.Int("matched") == 0 {
		t.Errorf("audit record %+v, %v", docs, err)
	}
	stored := map[visitor.TenantID]int{"later": 2, "strict": 2, "acme": 0, "globex": 0}
	// A processor that failed is left alone for a while, in which the impatient queue gives up what was put back.
	testkit.Eventually(t, 2*time.Minute, func(context.Context) bool {
		s.redrive(t, deadletter.Selection{Filter: deadletter.Filter{Status: deadletter.Parked, Tenant: "strict"}}, false)
		return len(s.identifications(t, "strict")) == stored["strict"]
	}, "what the mended processor gets is stored")
	s.awaitStored(t, stored, began)
	// The same message published again, and all put back once more: no second effect.
	s.send(t, s.cfg.PubSub.Topic, eventMessage(t, "later", "", "unknown"))
	_, before, _ := s.ended()
	s.redrive(t, deadletter.Selection{Filter: deadletter.Filter{Status: deadletter.Redriven}}, true)
	testkit.Eventually(t, time.Minute, func(context.Context) bool {
		_, duplicates, _ := s.ended()
		return duplicates >= before+4
	}, "what was put back once more is seen to be a duplicate")
	s.awaitStored(t, stored, began)
}

// awaitStored waits until each tenant has so many events, stored and counted.
func (s *system) awaitStored(t *testing.T, want map[visitor.TenantID]int, began time.Time) {
	t.Helper()
	for id, n := range want {
		testkit.Eventually(t, time.Minute, func(context.Context) bool { return len(s.identifications(t, id)) >= n }, "events are stored")
		if got, u := len(s.identifications(t, id)), s.usage(t, id, began); got != n || u.Events != int64(n) {
			t.Errorf("%s has %d events, %d counted, want %d", id, got, u.Events, n)
		}
	}
}

// checkPurge purges what was put back, first without doing it.
func (s *system) checkPurge(t *testing.T) {
	t.Helper()
	sel := deadletter.Selection{Filter: deadletter.Filter{Tenant: "strict"}}
	o := deadletter.PurgeOptions{DryRun: true, Operator: "ada", Now: time.Now}
	r, err := deadletter.Purge(t.Context(), s.backend.Store, sel, o)
	there := len(s.letters(t, sel.Filter))
	if err != nil || there < 2 || r.Matched != there || r.Purged != 0 {
		t.Errorf("dry run over %d: %+v, %v", there, r, err)
	}
	o.DryRun = false
	purged := 0
	testkit.Eventually(t, time.Minute, func(ctx context.Context) bool {
		r, err := deadletter.Purge(ctx, s.backend.Store, sel, o)
		if r != nil {
			purged += r.Purged
		}
		return err == nil
	}, "a purge comes to its end")
	if left := s.letters(t, sel.Filter); len(left) != 0 || purged < 2 || purged > there {
		t.Errorf("%d were purged, %d are left", purged, len(left))
	}
}

// TestDeadLettersWaitForTheStore: while Firestore is away dead letters stay in their subscription; then each is stored once.
func TestDeadLettersWaitForTheStore(t *testing.T) {
	t.Parallel()
	for name, open := range parking {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 5
			away := &outage{}
			away.over()
			t.Cleanup(away.begin)
			s := start(t, func(t *testing.T, cfg *config.Config) (*app.Backend, *fault.Injector) {
				t.Helper()
				b, faults := impatient(open)(t, cfg)
				return &app.Backend{Store: awayStore{b.Store, away}, Queue: b.Queue}, faults
			})
			s.started(t)
			away.begin()
			for range n {
				s.publishJunk(t)
			}
			nacked := func() int { return strings.Count(s.logs.String(), `"outcome":"nacked"`) }
			testkit.Eventually(t, time.Minute, func(context.Context) bool { return nacked() > n*queue.MinAttempts },
				"dead letters are given back more often than events may be")
			away.over()
			testkit.Eventually(t, time.Minute, func(context.Context) bool {
				return len(s.documents(t, layout.DeadLetterCollection(), nil)) == n
			}, "each dead letter is stored once")
		})
	}
}
