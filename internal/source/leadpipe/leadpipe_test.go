package leadpipe_test

import (
	"testing"

	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/leadpipe"
	"github.com/usherhq/usher/internal/source/sourcetest"
)

func TestGolden(t *testing.T) {
	t.Parallel()
	sourcetest.Golden(t, leadpipe.New())
}

func FuzzParse(f *testing.F) { sourcetest.Fuzz(f, leadpipe.New()) }

func BenchmarkParse(b *testing.B) { sourcetest.Bench(b, leadpipe.New(), "full") }

// All that is authentic is answered with 200, whatever became of it; only an outage asks for a retry.
func TestReply(t *testing.T) {
	t.Parallel()
	const ok = `{"success":true}`
	sourcetest.Replies(t, leadpipe.New(), []sourcetest.ReplyCase{
		{Result: source.Result{Outcome: source.Accepted, EventID: "evt_1"}, Status: 200, Body: `{"success":true,"event_id":"evt_1"}`},
		{Result: source.Result{Outcome: source.AcceptedTest}, Status: 200, Body: ok},
		{Result: source.Result{Outcome: source.Parked}, Status: 200, Body: ok},
		{Result: source.Result{Outcome: source.Parked, Why: source.BadRequest}, Status: 200, Body: ok},
		{Result: source.Result{Outcome: source.Parked, Why: source.MissingTenant}, Status: 200, Body: ok},
		{Result: source.Result{Outcome: source.BadRequest}, Status: 200, Body: ok},
		{Result: source.Result{Outcome: source.MissingTenant}, Status: 200, Body: ok},
		{Result: source.Result{Outcome: source.Unauthenticated}, Status: 401, Body: `{"error":"Unauthorized"}`},
		{Result: source.Result{Outcome: source.BadMethod}, Status: 405, Body: `{"error":"Method not allowed"}`},
		{Result: source.Result{Outcome: source.TooLarge}, Status: 413, Body: `{"error":"Payload too large"}`},
		{Result: source.Result{Outcome: source.Failed}, Status: 503, Body: `{"error":"Temporarily unavailable"}`},
	})
}

// The vendor sends lists of records too; each is one event with its own bytes and identity.
func TestListKeepsRecordsApart(t *testing.T) {
	t.Parallel()
	const a, b = `{"domain":"example.com", "email":"a@example.net"}`, `{"email":"b@example.net","domain":"example.com"}`
	recs, err := leadpipe.New().Parse([]byte(`[` + a + `,` + b + `]`))
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != 2 || string(recs[0].Raw) != a || string(recs[1].Raw) != b {
		t.Fatalf("records = %d, want the two as sent", len(recs))
	}
	alone, err := leadpipe.New().Parse([]byte(b))
	if err != nil {
		t.Fatal(err)
	}
	if string(alone[0].Canonical) != string(recs[1].Canonical) {
		t.Error("a record has another identity in a list")
	}
}
