package held

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/parts"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

// maxInline is the largest compressed payload that is kept in the record itself: releasing reads whole records,
// and a page of them has to fit in memory.
const maxInline = 64 << 10

// record is a held event as stored.
type record struct {
	tenant                       visitor.TenantID
	source                       string
	attributes                   map[string]string // of the message
	receivedAt, heldAt, expireAt time.Time
	payload                      []byte // the message's data, compressed; nil when it is in parts
	size                         int    // of the payload
	parts                        int
	partsKey                     string // names the parts
}

// Fields are the fields of a held event, for what describes the layout.
func Fields() store.Fields {
	r := record{payload: []byte{}, partsKey: "x", parts: 1}
	f := r.fields()
	r.parts = 0
	return append(append(f, r.fields()[len(f)-1]), store.Field{Name: "repeats", Value: int64(1)})
}

// fields is the record as it is stored. Attributes are kept as bytes, because their names are a publisher's and not
// every name can be a field.
func (r *record) fields() store.Fields {
	attributes, _ := json.Marshal(r.attributes) // a map of strings can always be encoded
	f := store.Fields{
		{Name: "source", Value: r.source},
		{Name: "received_at", Value: r.receivedAt},
		{Name: "held_at", Value: r.heldAt},
		{Name: "expire_at", Value: r.expireAt},
		{Name: "attributes", Value: attributes},
		{Name: "payload_encoding", Value: envelope.Zstd},
		{Name: "payload_bytes", Value: int64(r.size)},
		{Name: "payload_parts", Value: int64(r.parts)},
	}
	if r.parts > 0 {
		return append(f, store.Field{Name: "parts_key", Value: r.partsKey})
	}
	return append(f, store.Field{Name: "payload", Value: r.payload})
}

func load(t visitor.TenantID, d store.Doc) record {
	f := d.Fields
	r := record{
		tenant: t,
		source: f.Text("source"), receivedAt: f.Time("received_at"), heldAt: f.Time("held_at"), expireAt: f.Time("expire_at"),
		payload: f.Bytes("payload"), size: int(f.Int("payload_bytes")), parts: int(f.Int("payload_parts")), partsKey: f.Text("parts_key"),
	}
	_ = json.Unmarshal(f.Bytes("attributes"), &r.attributes) // written by fields
	return r
}

// place is where a part of the record is.
func (r *record) place(part int) (store.Path, error) {
	return layout.HeldPart(r.tenant, r.partsKey, part)
}

// message is what brings the event back. It returns [parts.ErrDamaged] where that is not possible.
func (r *record) message(ctx context.Context, s store.Store) (*queue.Message, error) {
	payload := r.payload
	if r.parts > 0 {
		var err error
		if payload, err = parts.Read(ctx, s, r.place, r.parts, r.size); err != nil {
			return nil, err
		}
	}
	data, err := envelope.Decompress(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", parts.ErrDamaged, err)
	}
	return &queue.Message{Data: data, Attributes: r.attributes}, nil
}
