package resolve

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mdblegacy"
)

// cookbook is the message of publishers written after MDB's cookbook. Everything but the payload is read
// leniently: publishers write it by hand.
type cookbook struct {
	ID         json.RawMessage `json:"id"`
	Timestamp  json.RawMessage `json:"timestamp"` // ms since the epoch
	TenantID   json.RawMessage `json:"tenant_id"`
	PageID     json.RawMessage `json:"page_id"`
	Data       json.RawMessage `json:"mdb_data"`
	Options    json.RawMessage `json:"pixel_options"`
	Processing json.RawMessage `json:"processing_metadata"`
}

// processing is the cookbook's processing_metadata.
type processing struct {
	ReceivedAt  json.RawMessage `json:"webhook_received_at"` // RFC 3339
	ExecutionID json.RawMessage `json:"function_execution_id"`
	LambdaID    json.RawMessage `json:"lambda_request_id"`
}

// marks are members that no other message has; looking for their bytes first spares most messages a parse.
var marks = [][]byte{[]byte(`"mdb_data"`), []byte(`"pixel_options"`)}

// IsCookbook reports whether a message is a cookbook publisher's and not usher's own, which always says its
// schema.
func IsCookbook(m *queue.Message) bool {
	if m.Attributes[envelope.AttrSchema] != "" || !bytes.Contains(m.Data, marks[0]) && !bytes.Contains(m.Data, marks[1]) {
		return false
	}
	var c cookbook
	return json.Unmarshal(m.Data, &c) == nil && c.marked()
}

// Cookbook resolves a cookbook publisher's message, with an endpoint of the MDB legacy source: it rebuilds the
// webhook that the message was made from, so the event has the id that usher's own ingest would have given
// it. It returns the event and the rebuilt webhook. Errors are as those of [Resolver.Webhook].
func (r *Resolver) Cookbook(ctx context.Context, ep *Endpoint, m *queue.Message) (*visitor.Event, []byte, error) {
	var c cookbook
	if err := json.Unmarshal(m.Data, &c); err != nil || !c.marked() {
		return nil, nil, &Error{Reason: envelope.ReasonUndecodable, Outcome: source.BadRequest, Detail: "not a cookbook message"}
	}
	raw := mdblegacy.Body(c.Options, c.Data)
	recs, err := ep.Adapter.Parse(raw)
	if err != nil {
		return nil, nil, parseError(err)
	}
	if len(recs) != 1 {
		return nil, nil, unusable("not one record")
	}
	named, err := claimed(m.Attributes[envelope.AttrTenant], text(c.TenantID))
	if err != nil {
		return nil, nil, err
	}
	req := Request{Tenant: string(named), Origin: visitor.OriginCookbook, Receipt: c.receipt(m.PublishTime)}
	ev, err := r.Record(ctx, ep, req, &recs[0], 0)
	if err != nil {
		return nil, nil, err
	}
	ev.SourceEventID = text(c.ID)
	if ev.Attribution.PageID == "" {
		ev.Attribution.PageID = text(c.PageID)
	}
	return ev, raw, nil
}

// marked reports whether the message has what only cookbook messages have.
func (c *cookbook) marked() bool { return c.Data != nil || c.Options != nil }

// receipt is when and by which execution the publisher received the webhook. A time that cannot be is passed
// over, because the receipt decides the usage period.
func (c *cookbook) receipt(published time.Time) visitor.Receipt {
	var p processing
	_ = json.Unmarshal(c.Processing, &p) // what is missing or odd is passed over
	rc := visitor.Receipt{ReceivedAt: published, FunctionExecutionID: text(p.ExecutionID)}
	if rc.FunctionExecutionID == "" {
		rc.FunctionExecutionID = text(p.LambdaID)
	}
	if t, err := time.Parse(time.RFC3339Nano, text(p.ReceivedAt)); err == nil && visitor.PlausibleTime(t, published) {
		rc.ReceivedAt = t
	} else if ms, err := strconv.ParseInt(text(c.Timestamp), 10, 64); err == nil && visitor.PlausibleTime(time.UnixMilli(ms), published) {
		rc.ReceivedAt = time.UnixMilli(ms)
	}
	return rc
}

// text is a JSON string's text, or a number as it is written; "" for everything else.
func text(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case c == '-', c >= '0' && c <= '9':
		return string(raw)
	}
	return ""
}
