// Package envelope is what usher's messages carry: an event beside its raw payload, or a dead letter.
package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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
	// AttrAllowStale is set by an operator's redrive on what is to be processed however long ago it was received.
	AttrAllowStale = "usher_allow_stale"
)

// Event is the body of an event's message: the event and, beside it, the vendor's payload.
type Event struct {
	Event *visitor.Event `json:"event"`
	// Raw is the vendor's record, compressed with [Compress]; nil where there is none.
	Raw []byte `json:"raw,omitempty"`
	// RawEncoding is "zstd".
	RawEncoding string `json:"raw_encoding,omitempty"`
	// JSON is the event as it was sent, set by [Decode]; it is part of the message's data.
	JSON []byte `json:"-"`
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

// Decode reads an event's message. It is strict where readers could differ: names that appear twice and text that is
// not UTF-8 are malformed. It returns [visitor.ErrNewerSchema] for a later major version and
// [visitor.ErrMalformed] for anything else it does not understand.
func Decode(m *queue.Message) (*Event, error) {
	if visitor.NewerSchema(m.Attributes[AttrSchema]) {
		return nil, visitor.ErrNewerSchema
	}
	var b body
	if err := jsonv2.Unmarshal(m.Data, &b); err != nil || b.Event.event == nil {
		if err != nil && newerSchema(m.Data) {
			return nil, visitor.ErrNewerSchema
		}
		return nil, fmt.Errorf("%w: not an event message", visitor.ErrMalformed)
	}
	if err := b.Event.event.Check(); err != nil {
		return nil, err
	}
	if len(b.Raw) > 0 && b.RawEncoding != Zstd {
		return nil, fmt.Errorf("%w: unknown raw_encoding", visitor.ErrMalformed)
	}
	return &Event{b.Event.event, b.Raw, b.RawEncoding, b.Event.in(m.Data)}, nil
}

// body is [Event] while it is read.
type body struct {
	Event       span   `json:"event"`
	Raw         []byte `json:"raw"`
	RawEncoding string `json:"raw_encoding"`
}

// span is an event and where its JSON is: what is stored is what was sent, without writing it anew.
type span struct {
	event      *visitor.Event
	start, end int64
}

// UnmarshalJSONFrom reads an event, or null.
func (s *span) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	s.start = d.InputOffset() // behind the member's name
	err := jsonv2.UnmarshalDecode(d, &s.event)
	s.end = d.InputOffset()
	return err
}

func (s *span) in(data []byte) []byte { return bytes.TrimLeft(data[s.start:s.end], ": \t\r\n") }

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
