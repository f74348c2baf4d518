// Package envelope is what usher's messages carry: an event beside its raw payload, or a dead letter.
package envelope

import (
	"encoding/json"
	"fmt"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/queue"
)

// Attribute names of usher's messages.
const (
	AttrTenant    = "tenant_id"
	AttrEventType = "event_type"
	AttrEvent     = "event_id"
	AttrSource    = "source"
	AttrSchema    = "schema"
)

// Event is the body of an event's message: the event and, beside it, the vendor's payload.
type Event struct {
	Event *visitor.Event `json:"event"`
	// Raw is the vendor's record, compressed with [Compress]; nil where there is none.
	Raw []byte `json:"raw,omitempty"`
	// RawEncoding is "zstd".
	RawEncoding string `json:"raw_encoding,omitempty"`
}

// Encode returns the message for an event and its raw payload (not yet compressed). It returns
// [visitor.ErrMalformed] for an event that may not be published.
func Encode(ev *visitor.Event, raw []byte) (*queue.Message, error) {
	if err := ev.Validate(); err != nil {
		return nil, err
	}
	env := Event{Event: ev}
	if len(raw) > 0 {
		env.Raw, env.RawEncoding = Compress(raw), Zstd
	}
	b, err := json.Marshal(env)
	if err != nil {
		return nil, fmt.Errorf("%w: not encodable", visitor.ErrMalformed)
	}
	return &queue.Message{Data: b, Attributes: map[string]string{
		AttrTenant:    string(ev.TenantID),
		AttrEventType: ev.Type,
		AttrEvent:     string(ev.ID),
		AttrSource:    ev.Source,
		AttrSchema:    ev.Schema,
	}}, nil
}

// Decode reads an event's message. It returns [visitor.ErrNewerSchema] for a later major version and
// [visitor.ErrMalformed] for anything else it does not understand.
func Decode(m *queue.Message) (*Event, error) {
	if visitor.NewerSchema(m.Attributes[AttrSchema]) {
		return nil, visitor.ErrNewerSchema
	}
	var env Event
	if err := json.Unmarshal(m.Data, &env); err != nil || env.Event == nil {
		if err != nil && newerSchema(m.Data) {
			return nil, visitor.ErrNewerSchema
		}
		return nil, fmt.Errorf("%w: not an event message", visitor.ErrMalformed)
	}
	if err := env.Event.Check(); err != nil {
		return nil, err
	}
	if len(env.Raw) > 0 && env.RawEncoding != Zstd {
		return nil, fmt.Errorf("%w: unknown raw_encoding", visitor.ErrMalformed)
	}
	return &env, nil
}

// newerSchema looks at the version alone: a later major version may have changed any type, and attributes can be
// lost on the way.
func newerSchema(b []byte) bool {
	var v struct {
		Event struct {
			Schema string `json:"schema"`
		} `json:"event"`
	}
	return json.Unmarshal(b, &v) == nil && visitor.NewerSchema(v.Event.Schema)
}
