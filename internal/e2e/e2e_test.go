package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/testkit"
	"github.com/usherhq/usher/internal/usage"
)

// The main test: 10,000 events over 50 tenants, 5 % published twice. The twins get fewer, since their faults
// show with fewer, and the two run side by side.
var eventsOn = map[string]int{"emulators": 10_000, "twins": 3_000}

const (
	tenants    = 50
	duplicates = 0.05
	junk       = 7 // messages that nobody can decode
)

// quiet is how long a drained subscription is watched: longer than any lease.
const quiet = 90 * time.Second

func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, open)
			events := eventsOn[name]
			who := simulate.Tenants(tenants)
			s.createTenants(t, who)
			began := time.Now().UTC()
			g, err := simulate.New(simulate.Options{
				Seed: 42, Count: events, Tenants: who, Endpoints: endpoints(t, s.cfg), Duplicates: duplicates,
				Start: began.Add(-time.Hour), Interval: 100 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			for range junk {
				s.publishJunk(t)
			}
			rep, err := simulate.Run(t.Context(), g, simulate.RunOptions{Base: s.base, Concurrency: 32, Tries: 10})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("sent after %v", time.Since(began))
			if rep.ByStatus[200] != rep.Sent || rep.Sent != events+rep.Duplicates {
				t.Fatalf("not every webhook was accepted: %+v", rep)
			}
			s.drained(t, rep.Sent+junk)
			t.Logf("drained after %v", time.Since(began))
			// What the service delivered again has ended more than once, so the last may still be under way.
			testkit.Eventually(t, time.Minute, func(context.Context) bool {
				stored := 0
				for id := range rep.ByTenant {
					stored += len(s.identifications(t, id))
				}
				return stored >= events
			}, "every event is stored")
			testkit.Eventually(t, time.Minute, func(context.Context) bool {
				return len(s.documents(t, layout.DeadLetterCollection(), nil)) == junk
			}, "each parked message is one stored dead letter")
			s.checkTenants(t, rep.ByTenant, events, began)
			s.checkNothingLeft(t, name)
			s.checkBalance(t)
			stored, dup, parked := s.ended()
			if name == "emulators" && (stored > events || parked < junk || stored+dup+parked < rep.Sent+junk) {
				t.Errorf("%d stored + %d duplicates + %d parked; published were %d + %d + %d",
					stored, dup, parked, events, rep.Duplicates, junk)
			}
			t.Logf("stored %d, duplicates %d, parked %d; published %d", stored, dup, parked, rep.Sent+junk)
		})
	}
}

// drained waits until n published messages, or more where the twin delivers again, have ended.
func (s *system) drained(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, 3*time.Minute, func(ctx context.Context) bool {
		if q, ok := s.backend.Queue.(*memqueue.Queue); ok {
			for _, name := range append(s.lanes(), s.cfg.PubSub.DeadLetterSubscription) { // in the order of the messages' way
				if q.WaitIdle(ctx, name) != nil {
					return false
				}
			}
			return true
		}
		stored, dup, parked := s.ended()
		return stored+dup+parked >= n
	}, "everything published is stored, a duplicate or parked")
}

// publishJunk publishes a message that is no event, until the publish is acknowledged.
func (s *system) publishJunk(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func(ctx context.Context) bool {
		_, err := s.backend.Queue.Publisher(s.cfg.PubSub.Topic).Publish(ctx, &queue.Message{Data: []byte("junk")})
		return err == nil
	}, "junk is published")
}

// checkTenants compares what is stored for each tenant with what was accepted for it.
func (s *system) checkTenants(t *testing.T, want map[visitor.TenantID]int, events int, began time.Time) {
	t.Helper()
	total := 0
	for id, n := range want {
		docs := s.identifications(t, id)
		total += len(docs)
		first := int64(0)
		for _, d := range docs {
			if got := d.Fields.Text("tenant_id"); got != string(id) {
				t.Errorf("tenant %s holds a record of %s", id, got)
			}
			if d.Fields.Bool("first_match") {
				first++
			}
		}
		if len(docs) != n {
			t.Errorf("tenant %s has %d identifications, want %d", id, len(docs), n)
		}
		u := s.usage(t, id, began)
		visitors := len(s.visitors(t, id))
		if u.Events != int64(n) || u.Identifications != first || first != int64(visitors) || u.Repeats != int64(n)-first {
			t.Errorf("tenant %s: usage %+v; %d events, %d first matches, %d visitors", id, u.Counts, n, first, visitors)
		}
	}
	if total != events {
		t.Errorf("%d identifications in all, want %d", total, events)
	}
}

// usage reads the months that a test may have run in.
func (s *system) usage(t *testing.T, id visitor.TenantID, began time.Time) usage.Month {
	t.Helper()
	var sum usage.Month
	months := []string{began.Format("2006-01")}
	if now := time.Now().UTC().Format("2006-01"); now != months[0] {
		months = append(months, now)
	}
	for _, m := range months {
		u, err := usage.Read(t.Context(), s.backend.Store, id, m, s.cfg.Consumer.UsageShards)
		if err != nil {
			t.Fatal(err)
		}
		sum.Events += u.Events
		sum.Identifications += u.Identifications
		sum.Repeats += u.Repeats
	}
	return sum
}

// checkNothingLeft pulls the drained subscription: nothing may come. On the emulator it waits longer than
// any lease; the twin knows when it is idle.
func (s *system) checkNothingLeft(t *testing.T, backend string) {
	t.Helper()
	s.stop()
	if backend == "twins" {
		return // its faults deliver acknowledged messages again, on purpose
	}
	var came atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), quiet)
	defer cancel()
	var pulling sync.WaitGroup
	for _, name := range s.lanes() {
		sub := s.backend.Queue.Subscriber(name, queue.FlowControl{Streams: 2, Shutdown: time.Second})
		pulling.Go(func() {
			err := sub.Receive(ctx, func(context.Context, *queue.Message) queue.Disposition {
				came.Add(1)
				return queue.Nack
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	pulling.Wait()
	if came.Load() != 0 {
		t.Errorf("after the drain %d messages came", came.Load())
	}
}

// checkBalance compares what the daemon says of its deliveries with what the twin counted: nothing was left out
// and nothing told twice, and every message that was published left the subscription by an ack.
func (s *system) checkBalance(t *testing.T) {
	t.Helper()
	q, ok := s.backend.Queue.(*memqueue.Queue)
	if !ok {
		return
	}
	byOutcome, _ := s.daemon.Stats()
	told := byOutcome["stored"] + byOutcome["duplicate"] + byOutcome["parked"] + byOutcome["nacked"] + byOutcome["shed"]
	var c memqueue.Stats
	for _, name := range s.lanes() {
		l := q.Stats(name)
		c.Backlog, c.Outstanding = c.Backlog+l.Backlog, c.Outstanding+l.Outstanding
		c.Published, c.Delivered, c.Acked = c.Published+l.Published, c.Delivered+l.Delivered, c.Acked+l.Acked
		c.DeadLettered += l.DeadLettered
	}
	if told != c.Delivered || byOutcome["filtered"] != 0 {
		t.Errorf("outcomes %v are %d, the queue delivered %d", byOutcome, told, c.Delivered)
	}
	if c.Backlog != 0 || c.Outstanding != 0 || c.DeadLettered != 0 {
		t.Errorf("not every message was acked: %+v", c)
	}
	letters := q.Stats(s.cfg.PubSub.DeadLetterSubscription)
	if letters.Published < byOutcome["parked"] || letters.Backlog != 0 || letters.Outstanding != 0 {
		t.Errorf("%d messages were parked, of the dead letters %+v", byOutcome["parked"], letters)
	}
	// A message is acked once more for each time that the twin delivered it again after its ack.
	again := int64(s.faults.Struck()[fault.Redelivered])
	if published := c.Published + letters.Published; c.Published == 0 || c.Acked+letters.Acked != published+again {
		t.Errorf("%d and %d acks of %d messages, %d of them delivered again", c.Acked, letters.Acked, published, again)
	}
}

// cookbookMessage is what a publisher written after MDB's cookbook puts on the topic for a webhook.
func cookbookMessage(t *testing.T, id string, options, data map[string]any) *queue.Message {
	t.Helper()
	now := time.Now().UTC()
	b, err := json.Marshal(map[string]any{
		"id": id, "timestamp": now.UnixMilli(), "tenant_id": options["tenant_id"], "page_id": options["page_id"],
		"mdb_data": data, "pixel_options": options,
		"processing_metadata": map[string]any{
			"webhook_received_at": now.Format("2006-01-02T15:04:05.000Z"), "function_execution_id": "exec-1",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &queue.Message{Data: b, Attributes: map[string]string{
		envelope.AttrTenant: fmt.Sprint(options["tenant_id"]), envelope.AttrEventType: visitor.TypeVisitorIdentified,
	}}
}

func TestCookbookPublishersAreTheSameEvent(t *testing.T) {
	t.Parallel()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, open)
			s.createTenants(t, []simulate.Tenant{{ID: "client_abc123"}})
			options := map[string]any{"tenant_id": "client_abc123", "page_id": "homepage_v2", "source": "your_pixel_v1"}
			data := map[string]any{"first_name": "Ada", "work_email": "ada@acme.example", "age_min": 30}
			for _, id := range []string{"evt_1739571908123_a1", "evt_1739571909456_b2"} {
				testkit.Eventually(t, 10*time.Second, func(ctx context.Context) bool {
					_, err := s.backend.Queue.Publisher(s.cfg.PubSub.Topic).Publish(ctx, cookbookMessage(t, id, options, data))
					return err == nil
				}, "cookbook message is published")
			}
			body, err := json.Marshal(map[string]any{"version": "v1", "options": options, "data": data})
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
				status, answer := s.post(t, "mdb", "", "", body)
				return status == 200 && strings.Contains(answer, `"success":true`)
			}, "the webhook is accepted")
			s.drained(t, 3)
			docs := s.identifications(t, "client_abc123")
			u := s.usage(t, "client_abc123", time.Now().UTC())
			if len(docs) != 1 || u.Events != 1 || u.Identifications != 1 {
				t.Fatalf("%d identifications, usage %+v; want one of each", len(docs), u.Counts)
			}
			if got := docs[0].Fields.Text("page_id"); got != "homepage_v2" {
				t.Errorf("page_id %q", got)
			}
		})
	}
}

// TestNothingPersonalIsLogged runs known people through every outcome and looks for them in all output.
func TestNothingPersonalIsLogged(t *testing.T) {
	t.Parallel()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, open)
			s.createTenants(t, []simulate.Tenant{{ID: "acme"}})
			person := `"email":"quill.pemberton@secret-person.example","first_name":"Quillon","last_name":"Pembertonsson",` +
				`"linkedin_url":"https://linkedin.com/in/quill-secret","ip":"203.0.113.77"`
			send := []struct{ endpoint, tenant, body string }{
				{"leadpipe", "acme", `{"domain":"www.acme.example",` + person + `}`},                   // stored
				{"leadpipe", "acme", `{"domain":"www.acme.example",` + person},                         // not JSON: parked
				{"leadpipe", "nobody", `{"domain":"www.acme.example",` + person + `}`},                 // unknown tenant: parked
				{"leadpipe", "", `{"domain":"unknown.example",` + person + `}`},                        // no route: parked
				{"mdb", "", `{"version":"v1","options":{"tenant_id":"acme"},"data":{` + person + `}}`}, // stored
				{"mdb", "", `{"version":"v2","options":{"tenant_id":"acme"},"data":{` + person + `}}`}, // 400
				{"midbound", "", `{"type":"identity.resolved","id":"evt_1","created":1739571908123,"data":{"session":{"tenant":"acme",` +
					`"network":{"ip":"203.0.113.77"}},"identity":{"demographics":{"firstName":"Quillon","lastName":"Pembertonsson"},` +
					`"emails":[{"value":"quill.pemberton@secret-person.example"}]}}}`},
			}
			for i, w := range send {
				testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
					status, _ := s.post(t, w.endpoint, w.tenant, fmt.Sprint("msg_", i), []byte(w.body))
					return status < 500
				}, "webhook is answered")
			}
			s.drained(t, 4)
			s.stop()
			out := s.logs.String()
			for _, want := range []string{`"outcome":"stored"`, `"outcome":"parked"`, `"acme"`} {
				if !strings.Contains(out, want) {
					t.Errorf("the log lacks %s: the test looks at the wrong thing", want)
				}
			}
			for _, secret := range []string{
				"quill.pemberton", "secret-person", "Quillon", "Pembertonsson", "quill-secret", "203.0.113.77",
				tokenSecret, standardSecret, hmacSecret,
			} {
				if strings.Contains(strings.ToLower(out), strings.ToLower(secret)) {
					t.Errorf("the log holds %q", secret)
				}
			}
		})
	}
}
