package deadletter

import (
	"encoding/json"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/store"
)

// Kind is what was parked.
type Kind string

// The kinds.
const (
	KindMessage Kind = "message" // a message of the events topic
	KindWebhook Kind = "webhook" // an authentic request
	KindUnknown Kind = "unknown" // neither: kept as it came, cannot be redriven
)

// Status is what became of a dead letter.
type Status string

// The statuses.
const (
	Parked   Status = "parked"
	Redriven Status = "redriven"
)

// ReasonForwarded marks a message that Pub/Sub itself forwarded after its last delivery attempt.
const ReasonForwarded envelope.Reason = "forwarded"

// Record is a stored dead letter without its payload; see [Payload].
type Record struct {
	ID        string           `json:"id"`
	Kind      Kind             `json:"kind"`
	Status    Status           `json:"status"`
	Reason    envelope.Reason  `json:"reason"`
	Class     envelope.Class   `json:"class"`
	Detail    string           `json:"detail,omitempty"`
	TenantID  visitor.TenantID `json:"tenant_id,omitempty"`
	Source    string           `json:"source,omitempty"`
	EventID   visitor.EventID  `json:"event_id,omitempty"`
	ParkedAt  time.Time        `json:"parked_at"`
	ExpireAt  time.Time        `json:"expire_at"`
	MessageID string           `json:"message_id,omitempty"`
	// ReceivedAt is the first receipt, where known; PublishedAt is when the message was first published.
	ReceivedAt  time.Time `json:"received_at,omitzero"`
	PublishedAt time.Time `json:"published_at,omitzero"`
	Attempts    int       `json:"attempts,omitempty"`
	// Attributes are the message's, or the safe headers of the webhook.
	Attributes map[string]string `json:"attributes,omitempty"`

	// Of webhooks.
	Endpoint            string `json:"endpoint,omitempty"`
	PathTenant          string `json:"path_tenant,omitempty"`
	VerifiedID          string `json:"verified_id,omitempty"`
	FunctionExecutionID string `json:"function_execution_id,omitempty"`

	Redrives     int       `json:"redrives,omitempty"`
	RedrivenAt   time.Time `json:"redriven_at,omitzero"`
	PayloadBytes int       `json:"payload_bytes"` // compressed
	PayloadParts int       `json:"payload_parts,omitempty"`

	payload []byte // compressed; in parts when there are any
	version store.Version
}

// received is the best that is known of the first receipt.
func (r *Record) received() time.Time {
	if !r.ReceivedAt.IsZero() {
		return r.ReceivedAt
	}
	return r.PublishedAt
}

// Fields is the record as it is stored. Attributes are kept as bytes, because their names are a publisher's and
// not every name can be a field.
func (r *Record) Fields() store.Fields {
	attributes, _ := json.Marshal(r.Attributes) // a map of strings can always be encoded
	f := store.Fields{
		{Name: "kind", Value: string(r.Kind)},
		{Name: "status", Value: string(r.Status)},
		{Name: "reason", Value: string(r.Reason)},
		{Name: "class", Value: string(r.Class)},
		{Name: "parked_at", Value: r.ParkedAt},
		{Name: "expire_at", Value: r.ExpireAt},
		{Name: "attributes", Value: attributes},
		{Name: "payload_bytes", Value: int64(r.PayloadBytes)},
		{Name: "payload_parts", Value: int64(r.PayloadParts)},
		{Name: "redrives", Value: int64(r.Redrives)},
	}
	if r.PayloadParts == 0 {
		f = append(f, store.Field{Name: "payload", Value: r.payload}, store.Field{Name: "payload_encoding", Value: envelope.Zstd})
	} else {
		f = append(f, store.Field{Name: "payload_encoding", Value: envelope.Zstd})
	}
	for _, t := range []struct{ name, value string }{
		{"detail", r.Detail}, {"tenant_id", string(r.TenantID)}, {"source", r.Source}, {"event_id", string(r.EventID)},
		{"message_id", r.MessageID}, {"endpoint", r.Endpoint}, {"path_tenant", r.PathTenant}, {"verified_id", r.VerifiedID},
		{"function_execution_id", r.FunctionExecutionID},
	} {
		if t.value != "" {
			f = append(f, store.Field{Name: t.name, Value: t.value})
		}
	}
	for _, t := range []struct {
		name  string
		value time.Time
	}{{"received_at", r.ReceivedAt}, {"published_at", r.PublishedAt}, {"redriven_at", r.RedrivenAt}} {
		if !t.value.IsZero() {
			f = append(f, store.Field{Name: t.name, Value: t.value})
		}
	}
	return append(f, store.Field{Name: "attempts", Value: int64(r.Attempts)})
}

// load reads a stored record.
func load(d store.Doc) Record {
	f := d.Fields
	r := Record{
		ID: d.Path.ID(), Kind: Kind(f.Text("kind")), Status: Status(f.Text("status")),
		Reason: envelope.Reason(f.Text("reason")), Class: envelope.Class(f.Text("class")), Detail: f.Text("detail"),
		TenantID: visitor.TenantID(f.Text("tenant_id")), Source: f.Text("source"), EventID: visitor.EventID(f.Text("event_id")),
		ParkedAt: f.Time("parked_at"), ExpireAt: f.Time("expire_at"), MessageID: f.Text("message_id"),
		ReceivedAt: f.Time("received_at"), PublishedAt: f.Time("published_at"), Attempts: int(f.Int("attempts")),
		Endpoint: f.Text("endpoint"), PathTenant: f.Text("path_tenant"), VerifiedID: f.Text("verified_id"),
		FunctionExecutionID: f.Text("function_execution_id"),
		Redrives:            int(f.Int("redrives")), RedrivenAt: f.Time("redriven_at"),
		PayloadBytes: int(f.Int("payload_bytes")), PayloadParts: int(f.Int("payload_parts")),
		payload: f.Bytes("payload"), version: d.Version,
	}
	_ = json.Unmarshal(f.Bytes("attributes"), &r.Attributes) // written by Fields
	return r
}
