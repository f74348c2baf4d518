package visitor_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
)

func ExampleDecode() {
	body := []byte(`{
		"schema": "1.0", "id": "evt_a", "type": "visitor_identified", "tenant_id": "acme", "source": "midbound", "origin": "webhook",
		"identified_at": "2026-02-03T10:11:12Z", "receipt": {"received_at": "2026-02-03T10:11:13Z"},
		"person": {"title": "CTO"}, "a_field_of_1_1": true
	}`)
	ev, err := visitor.Decode(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ev.TenantID, ev.Person.Title, ev.Month())
	// Output: acme CTO 2026-02
}

func ExampleDecode_newerSchema() {
	_, err := visitor.Decode([]byte(`{"schema": "2.0"}`))
	if errors.Is(err, visitor.ErrNewerSchema) {
		fmt.Println("update this consumer; the event is not broken")
	}
	// Output: update this consumer; the event is not broken
}

func ExampleEncode() {
	at := time.Date(2026, 2, 3, 10, 11, 12, 0, time.UTC)
	b, err := visitor.Encode(&visitor.Event{
		Schema:       visitor.Schema,
		ID:           visitor.NewEventID("midbound", "acme", "evt_1", 0),
		Type:         visitor.TypeVisitorIdentified,
		TenantID:     "acme",
		Source:       "midbound",
		Origin:       visitor.OriginWebhook,
		IdentifiedAt: at,
		Receipt:      visitor.Receipt{ReceivedAt: at},
	})
	fmt.Println(len(b) > 0, err)
	// Output: true <nil>
}

func ExampleEvent_Visitor() {
	// The vendor's own visitor id wins over an address, an address over a LinkedIn profile.
	a := &visitor.Event{TenantID: "acme", Person: visitor.Person{Emails: []visitor.Email{{Address: "Ada@example.com"}}}}
	b := &visitor.Event{TenantID: "acme", Person: visitor.Person{Emails: []visitor.Email{{Address: "ada@example.com"}}}}
	fmt.Println(a.Visitor() == b.Visitor())
	// Output: true
}
