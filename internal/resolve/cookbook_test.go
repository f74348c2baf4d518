package resolve_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mdblegacy"
)

const cookbookBody = `{"id":"evt_1772600767000_k3j9","timestamp":1772600767001,"tenant_id":"acme","page_id":"home",
	"mdb_data":{"n":12345678901234567890,"email":"ada@example.com"},
	"pixel_options":{"tenant_id":"acme","page_id":"home","source":"pixel"},
	"processing_metadata":{"webhook_received_at":"2026-03-04T05:06:07.000Z","function_execution_id":"x9"}}`

// message is a cookbook publisher's message, published a second after the webhook.
func message(body string) *queue.Message {
	return &queue.Message{
		Data: []byte(body), PublishTime: received,
		Attributes: map[string]string{envelope.AttrTenant: "acme", envelope.AttrEventType: visitor.TypeVisitorIdentified},
	}
}

func legacyEndpoint() *resolve.Endpoint {
	return &resolve.Endpoint{Name: "cookbook", Adapter: legacy{}}
}

func TestCookbook(t *testing.T) {
	t.Parallel()
	m := message(cookbookBody)
	if !resolve.IsCookbook(m) {
		t.Fatal("not detected")
	}
	ev, raw, err := resolve.New(nil).Cookbook(t.Context(), legacyEndpoint(), m)
	if err != nil {
		t.Fatal(err)
	}
	const wantRaw = `{"version":"v1","options":{"tenant_id":"acme","page_id":"home","source":"pixel"},` +
		`"data":{"n":12345678901234567890,"email":"ada@example.com"}}`
	if string(raw) != wantRaw {
		t.Errorf("raw = %s", raw)
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	want := &visitor.Event{
		Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, ID: ev.ID, TenantID: "acme", Source: "legacy",
		SourceEventID: "evt_1772600767000_k3j9", Origin: visitor.OriginCookbook, RepeatAfterSeconds: 3600, IdentifiedAt: at,
		Receipt:     visitor.Receipt{ReceivedAt: at, FunctionExecutionID: "x9", Endpoint: "cookbook"},
		Attribution: visitor.Attribution{PageID: "home"},
	}
	if d := cmp.Diff(want, ev); d != "" {
		t.Error(d)
	}
}

// TestOneWebhookOneID sends a webhook through the function and through two cookbook publishers.
func TestOneWebhookOneID(t *testing.T) {
	t.Parallel()
	r, ids := resolve.New(nil), map[visitor.EventID]bool{}
	webhook := `{ "data": {"email":"ada@example.com", "n": 12345678901234567890}, "version": "v1",
		"options": {"source":"pixel", "page_id":"home","tenant_id":"acme"} }`
	items, err := r.Webhook(t.Context(), &resolve.Endpoint{Name: "mdb", Adapter: legacy{}},
		resolve.Request{Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: received}}, []byte(webhook))
	if err != nil {
		t.Fatal(err)
	}
	ids[items[0].Event.ID] = true
	for _, id := range []string{"evt_1772600767000_k3j9", "evt_1772600999000_zzzz"} {
		ev, _, err := r.Cookbook(t.Context(), legacyEndpoint(), message(strings.Replace(cookbookBody, "evt_1772600767000_k3j9", id, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if ev.SourceEventID != id {
			t.Errorf("SourceEventID = %q", ev.SourceEventID)
		}
		ids[ev.ID] = true
	}
	if len(ids) != 1 {
		t.Errorf("%d ids for one webhook", len(ids))
	}
}

// TestWebhookOfNodePublisher: testdata/node.json has webhooks and the messages that a publisher in Node.js 20 made of
// them with JSON.stringify(JSON.parse(body)), which prints every number anew, puts names that are integers first and
// undoes escapes. Each webhook is one event through the function and through two publishers.
func TestWebhookOfNodePublisher(t *testing.T) {
	t.Parallel()
	var rows []struct{ Name, Webhook, Message string }
	if b, err := os.ReadFile("testdata/node.json"); err != nil || json.Unmarshal(b, &rows) != nil || len(rows) == 0 {
		t.Fatalf("no rows: %v", err)
	}
	r, seen := resolve.New(nil), map[visitor.EventID]string{}
	for _, row := range rows {
		ep := &resolve.Endpoint{Name: "mdb", Adapter: mdblegacy.New()}
		items, err := r.Webhook(t.Context(), ep,
			resolve.Request{Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: received}}, []byte(row.Webhook))
		if err != nil || len(items) != 1 || items[0].Err != nil {
			t.Fatalf("%s: webhook %v, %v", row.Name, items, err)
		}
		want := items[0].Event.ID
		if other := seen[want]; other != "" {
			t.Errorf("%s: same id as %s", row.Name, other)
		}
		seen[want] = row.Name
		for _, id := range []string{"evt_1772600767000_k3j9", "evt_1772600999000_zzzz"} {
			ev, _, err := r.Cookbook(t.Context(), ep, message(strings.Replace(row.Message, "evt_1772600767000_k3j9", id, 1)))
			if err != nil {
				t.Fatalf("%s: message: %v", row.Name, err)
			}
			if ev.ID != want || ev.SourceEventID != id {
				t.Errorf("%s: message %s is event %s, the webhook %s", row.Name, ev.SourceEventID, ev.ID, want)
			}
		}
	}
}

func TestCookbookReceipt(t *testing.T) {
	t.Parallel()
	ms := time.UnixMilli(1772600767001).UTC()
	for _, tc := range []struct {
		name, members string
		want          visitor.Receipt
	}{
		{"metadata", `"timestamp":1772600767001,"processing_metadata":{"webhook_received_at":"2026-03-04T06:06:06.5+01:00"}`,
			visitor.Receipt{ReceivedAt: time.Date(2026, 3, 4, 5, 6, 6, 500e6, time.UTC)}},
		{"timestamp", `"timestamp":1772600767001`, visitor.Receipt{ReceivedAt: ms}},
		{"timestamp as text", `"timestamp":"1772600767001"`, visitor.Receipt{ReceivedAt: ms}},
		{"unreadable metadata", `"timestamp":1772600767001,"processing_metadata":{"webhook_received_at":"soon"}`, visitor.Receipt{ReceivedAt: ms}},
		{"metadata of the future", `"timestamp":1772600767001,"processing_metadata":{"webhook_received_at":"2027-03-04T05:06:07Z"}`,
			visitor.Receipt{ReceivedAt: ms}},
		{"timestamp in seconds", `"timestamp":1772600767`, visitor.Receipt{ReceivedAt: received}},
		{"odd types", `"timestamp":{},"processing_metadata":[]`, visitor.Receipt{ReceivedAt: received}},
		{"nothing", `"id":null`, visitor.Receipt{ReceivedAt: received}},
		{"lambda", `"processing_metadata":{"lambda_request_id":"l1"}`, visitor.Receipt{ReceivedAt: received, FunctionExecutionID: "l1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ev, _, err := resolve.New(nil).Cookbook(t.Context(), legacyEndpoint(), message(`{"mdb_data":{},`+tc.members+`}`))
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Endpoint = "cookbook"
			if d := cmp.Diff(tc.want, ev.Receipt); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCookbookErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body, attr string
		adapter          source.Adapter
		reason           envelope.Reason
	}{
		{name: "not JSON", body: `{"mdb_data":`, reason: envelope.ReasonUndecodable},
		{name: "another message", body: `{"event":{}}`, reason: envelope.ReasonUndecodable},
		{name: "attribute differs from body", body: `{"mdb_data":{},"tenant_id":"globex"}`, attr: "acme", reason: envelope.ReasonTenantMismatch},
		{name: "attribute differs from options", body: `{"mdb_data":{},"pixel_options":{"tenant_id":"globex"}}`, attr: "acme", reason: envelope.ReasonTenantMismatch},
		{name: "body differs from options", body: `{"mdb_data":{},"tenant_id":"acme","pixel_options":{"tenant_id":"globex"}}`, reason: envelope.ReasonTenantMismatch},
		{name: "no tenant", body: `{"mdb_data":{}}`, reason: envelope.ReasonUnusable},
		{name: "illegal tenant", body: `{"mdb_data":{},"tenant_id":"a/b"}`, reason: envelope.ReasonForbiddenID},
		{name: "adapter refuses", body: `{"mdb_data":{}}`, adapter: fixed{err: &source.Error{Outcome: source.BadRequest}}, reason: envelope.ReasonUnusable},
		{name: "adapter finds two", body: `{"mdb_data":{}}`, adapter: fixed{recs: make([]source.Record, 2)}, reason: envelope.ReasonUnusable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ep := legacyEndpoint()
			if tc.adapter != nil {
				ep.Adapter = tc.adapter
			}
			m := message(tc.body)
			m.Attributes[envelope.AttrTenant] = tc.attr
			_, _, err := resolve.New(nil).Cookbook(t.Context(), ep, m)
			var got *resolve.Error
			if !errors.As(err, &got) || got.Reason != tc.reason {
				t.Fatalf("error = %v, want %s", err, tc.reason)
			}
		})
	}
}

func TestCookbookTenantAsNumber(t *testing.T) {
	t.Parallel()
	m := message(`{"mdb_data":null,"tenant_id":42}`)
	m.Attributes[envelope.AttrTenant] = "42"
	ev, _, err := resolve.New(nil).Cookbook(t.Context(), legacyEndpoint(), m)
	if err != nil || ev.TenantID != "42" {
		t.Fatalf("event %v, %v", ev, err)
	}
}

func TestIsCookbook(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body, schema string
		want               bool
	}{
		{"cookbook", cookbookBody, "", true},
		{"options only", `{"pixel_options":{}}`, "", true},
		{"says a schema", cookbookBody, "1.0", false},
		{"deeper down", `{"event":{"mdb_data":1}}`, "", false},
		{"not JSON", `"mdb_data" {`, "", false},
		{"empty", ``, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := message(tc.body)
			if tc.schema != "" {
				m.Attributes[envelope.AttrSchema] = tc.schema
			}
			if got := resolve.IsCookbook(m); got != tc.want {
				t.Errorf("IsCookbook = %t", got)
			}
		})
	}
}

// FuzzCookbook holds that any message is resolved into a valid event with a readable payload, or refused
// with a typed error.
func FuzzCookbook(f *testing.F) {
	f.Add([]byte(cookbookBody), "acme")
	f.Add([]byte(`{"mdb_data":{},"timestamp":-1}`), "")
	f.Add([]byte(`{"pixel_options":null,"id":{}}`), "acme")
	f.Fuzz(func(t *testing.T, body []byte, tenant string) {
		m := &queue.Message{Data: body, PublishTime: received, Attributes: map[string]string{envelope.AttrTenant: tenant}}
		ev, raw, err := resolve.New(nil).Cookbook(t.Context(), legacyEndpoint(), m)
		var refused *resolve.Error
		switch {
		case errors.As(err, &refused):
		case err != nil:
			t.Fatalf("untyped error: %v", err)
		case !json.Valid(raw):
			t.Fatalf("raw is not JSON: %s", raw)
		default:
			if err := ev.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkCookbook is what the daemon does for a cookbook message before it is an event like any other.
func BenchmarkCookbook(b *testing.B) {
	r, ep := resolve.New(nil), &resolve.Endpoint{Name: "cookbook", Adapter: mdblegacy.New()}
	m := message(cookbookBody)
	b.ReportAllocs()
	for b.Loop() {
		if !resolve.IsCookbook(m) {
			b.Fatal("not detected")
		}
		if _, _, err := r.Cookbook(b.Context(), ep, m); err != nil {
			b.Fatal(err)
		}
	}
}
