package midbound_test

import (
	"os"
	"testing"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/midbound"
	"github.com/usherhq/usher/internal/source/sourcetest"
)

func TestGolden(t *testing.T) {
	t.Parallel()
	sourcetest.Golden(t, midbound.New())
}

func FuzzParse(f *testing.F) { sourcetest.Fuzz(f, midbound.New()) }

func BenchmarkParse(b *testing.B) { sourcetest.Bench(b, midbound.New(), "enriched") }

func TestReply(t *testing.T) {
	t.Parallel()
	sourcetest.Replies(t, midbound.New(), []sourcetest.ReplyCase{
		{Result: source.Result{Outcome: source.Accepted, EventID: "evt_1"}, Status: 200, Body: `{"success":true,"event_id":"evt_1"}`},
		{Result: source.Result{Outcome: source.Parked, Why: source.MissingTenant}, Status: 200, Body: `{"success":true}`},
		{Result: source.Result{Outcome: source.Unauthenticated}, Status: 401, Body: `{"error":"Unauthorized"}`},
		{Result: source.Result{Outcome: source.TooLarge}, Status: 413, Body: `{"error":"Payload too large"}`},
		{Result: source.Result{Outcome: source.Failed}, Status: 503, Body: `{"error":"Temporarily unavailable"}`},
	})
}

// The five events of one session are of one visitor, whether the session is in them or not.
func TestOneVisitor(t *testing.T) {
	t.Parallel()
	const vid = "01KH5FW03RXBE3EZGHKW8V1J7M"
	for _, name := range []string{"resolved", "qualified_session_null", "enriched", "validated", "finalized"} {
		body, err := os.ReadFile("testdata/" + name + ".in.json")
		if err != nil {
			t.Fatal(err)
		}
		recs, err := midbound.New().Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		want := visitor.Identifier{Kind: visitor.IdentifierVendor, Value: ":" + vid}
		if got := recs[0].Event.Identifiers()[0]; got != want {
			t.Errorf("%s: first identifier = %v, want %v", name, got, want)
		}
	}
}
