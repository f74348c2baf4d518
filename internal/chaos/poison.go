package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
)

// poisons are the ways of a message to be wrong for good. Each gets an event that is in order.
var poisons = []struct {
	spoil   func(*visitor.Event, *queue.Message) error
	reasons []envelope.Reason
}{
	{notUTF8, []envelope.Reason{envelope.ReasonUndecodable}},
	{truncated, []envelope.Reason{envelope.ReasonUndecodable}},
	{tenantNotUTF8, []envelope.Reason{envelope.ReasonUndecodable, envelope.ReasonTenantMismatch}},
	{otherJSON, []envelope.Reason{envelope.ReasonUndecodable}},
	{unknownTenant, []envelope.Reason{envelope.ReasonUnknownTenant}},
	{forbiddenID, []envelope.Reason{envelope.ReasonForbiddenID}},
	{mismatch, []envelope.Reason{envelope.ReasonTenantMismatch}},
	{stale, []envelope.Reason{envelope.ReasonStale}},
}

// poison returns the next poisonous message and writes it into the books.
func (r *rig) poison(ev *visitor.Event) (*queue.Message, error) {
	p := poisons[r.want.Poison()%len(poisons)]
	own := *ev
	// An id of its own: it must not be taken for a duplicate of the event it was made from.
	own.ID = visitor.NewEventID(ev.Source, ev.TenantID, fmt.Sprint("poison-", r.want.Poison()), 0)
	m := &queue.Message{Attributes: map[string]string{}}
	if err := encode(&own, m); err != nil {
		return nil, err
	}
	if err := p.spoil(&own, m); err != nil {
		return nil, err
	}
	m.Attributes = maps.Clone(m.Attributes)
	r.want.AddPoison(m, p.reasons...)
	return m, nil
}

// encode writes the event as it is, where envelope.Encode would refuse what is wrong.
func encode(ev *visitor.Event, m *queue.Message) error {
	b, err := json.Marshal(envelope.Event{Event: ev})
	if err != nil {
		return fmt.Errorf("make poison: %w", err)
	}
	m.Data = b
	m.Attributes[envelope.AttrTenant], m.Attributes[envelope.AttrSchema] = string(ev.TenantID), ev.Schema
	m.Attributes[envelope.AttrEvent], m.Attributes[envelope.AttrSource] = string(ev.ID), ev.Source
	m.Attributes[envelope.AttrEventType] = ev.Type
	return nil
}

func notUTF8(_ *visitor.Event, m *queue.Message) error {
	m.Data = []byte("\xff\xfe\x00caf\xe9")
	m.Attributes = map[string]string{}
	return nil
}

func truncated(_ *visitor.Event, m *queue.Message) error {
	m.Data = m.Data[:len(m.Data)/2]
	return nil
}

func tenantNotUTF8(ev *visitor.Event, m *queue.Message) error {
	good, bad := `"tenant_id":"`+string(ev.TenantID)+`"`, `"tenant_id":"`+string(ev.TenantID)+"\xff\""
	m.Data = []byte(strings.Replace(string(m.Data), good, bad, 1))
	return nil
}

func otherJSON(_ *visitor.Event, m *queue.Message) error {
	m.Data = []byte(`{"event":{"hello":"world"}}`)
	return nil
}

func unknownTenant(ev *visitor.Event, m *queue.Message) error {
	ev.TenantID = "tenant-of-nobody"
	return encode(ev, m)
}

func forbiddenID(ev *visitor.Event, m *queue.Message) error {
	ev.ID = "evt_a/b"
	return encode(ev, m)
}

func mismatch(_ *visitor.Event, m *queue.Message) error {
	m.Attributes[envelope.AttrTenant] = "tenant-of-another"
	return nil
}

func stale(ev *visitor.Event, m *queue.Message) error {
	ev.Receipt.ReceivedAt = ev.Receipt.ReceivedAt.Add(-40 * 24 * time.Hour)
	return encode(ev, m)
}
