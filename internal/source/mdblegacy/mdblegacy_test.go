package mdblegacy_test

import (
	"encoding/json"
	"testing"

	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/source/sourcetest"
)

func TestGolden(t *testing.T) {
	t.Parallel()
	sourcetest.Golden(t, mdblegacy.New())
}

func FuzzParse(f *testing.F) { sourcetest.FuzzByValue(f, mdblegacy.New()) }

func BenchmarkParse(b *testing.B) { sourcetest.Bench(b, mdblegacy.New(), "clay") }

func TestReply(t *testing.T) {
	t.Parallel()
	sourcetest.Replies(t, mdblegacy.New(), []sourcetest.ReplyCase{
		{Result: source.Result{Outcome: source.Accepted, EventID: "evt_1"}, Status: 200, Body: `{"success":true,"event_id":"evt_1"}`},
		{Result: source.Result{Outcome: source.AcceptedTest}, Status: 200, Body: `{"success":true}`},
		{Result: source.Result{Outcome: source.Parked, EventID: "evt_1"}, Status: 200, Body: `{"success":true,"event_id":"evt_1"}`},
		{Result: source.Result{Outcome: source.Parked, Why: source.UnsupportedVersion}, Status: 400, Body: `{"error":"Unsupported version"}`},
		{Result: source.Result{Outcome: source.Parked, Why: source.MissingTenant}, Status: 400, Body: `{"error":"Missing tenant_id"}`},
		{Result: source.Result{Outcome: source.Parked, Why: source.BadRequest}, Status: 400, Body: `{"error":"Invalid payload"}`},
		{Result: source.Result{Outcome: source.UnsupportedVersion}, Status: 400, Body: `{"error":"Unsupported version"}`},
		{Result: source.Result{Outcome: source.MissingTenant}, Status: 400, Body: `{"error":"Missing tenant_id"}`},
		{Result: source.Result{Outcome: source.BadMethod}, Status: 405, Body: `{"error":"Method not allowed"}`},
		{Result: source.Result{Outcome: source.Unauthenticated}, Status: 401, Body: `{"error":"Unauthorized"}`},
		{Result: source.Result{Outcome: source.TooLarge}, Status: 413, Body: `{"error":"Payload too large"}`},
		{Result: source.Result{Outcome: source.Failed}, Status: 500, Body: `{"error":"Processing failed"}`},
	})
}

// The vendor's webhook, whatever else it holds, and what a publisher passes on of it are one event.
func TestBodyHasTheIdentityOfTheWebhook(t *testing.T) {
	t.Parallel()
	const options, data = `{"tenant_id":"a","page_id":"é"}`, `{"work_email":"ada@example.com","n":1.50}`
	for _, tt := range []struct {
		name, webhook string
		options, data json.RawMessage
		same          bool
	}{
		{"same bytes", `{"version":"v1","options":` + options + `,"data":` + data + `}`, json.RawMessage(options), json.RawMessage(data), true},
		{"other order, space, escapes and members", `{"sent_at":7, "data":{"n":1.50,"work_email":"ada\u0040example.com"},
			"options":{"page_id":"\u00e9","tenant_id":"a"},"version":"v1"}`, json.RawMessage(options), json.RawMessage(data), true},
		{"numbers of one value", `{"version":"v1","options":{"n":1.0},"data":{"n":[1e3,-0,0.10,9007199254740993]}}`,
			json.RawMessage(`{"n":1}`), json.RawMessage(`{"n":[1000,0,0.1,9007199254740992]}`), true},
		{"other number", `{"version":"v1","options":{},"data":{"n":1.0}}`, json.RawMessage(`{}`), json.RawMessage(`{"n":1.01}`), false},
		{"number and text", `{"version":"v1","options":{},"data":{"n":1}}`, json.RawMessage(`{}`), json.RawMessage(`{"n":"1"}`), false},
		{"no options", `{"version":"v1","data":{}}`, nil, json.RawMessage(`{}`), true},
		{"no data", `{"version":"v1","options":{}}`, json.RawMessage(`{}`), nil, true},
		{"null is not missing", `{"version":"v1","options":{}}`, json.RawMessage(`{}`), json.RawMessage(`null`), false},
		{"other data", `{"version":"v1","options":{},"data":{"a":1}}`, json.RawMessage(`{}`), json.RawMessage(`{"a":2}`), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sent, err := mdblegacy.New().Parse([]byte(tt.webhook))
			if err != nil {
				t.Fatal(err)
			}
			passed, err := mdblegacy.New().Parse(mdblegacy.Body(tt.options, tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if same := string(sent[0].Canonical) == string(passed[0].Canonical); same != tt.same {
				t.Errorf("one identity = %t, want %t:\n%s\n%s", same, tt.same, sent[0].Canonical, passed[0].Canonical)
			}
		})
	}
}
