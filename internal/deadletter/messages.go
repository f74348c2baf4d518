package deadletter

import (
	"context"
	"errors"
	"maps"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
)

// messages are what a dead letter is put back as, and why it cannot be put back or not wholly. An error is the
// platform's.
func (r *redrive) messages(ctx context.Context, rec *Record) ([]*queue.Message, *resolve.Error, error) {
	if rec.Kind != KindMessage && rec.Kind != KindWebhook {
		return nil, refusal(envelope.ReasonUndecodable, "not a dead letter: nobody knows what it was"), nil
	}
	if at := rec.received(); !r.opts.AllowStale && !at.IsZero() && r.opts.Now().Sub(at) > r.opts.Window {
		return nil, refusal(envelope.ReasonStale, "first received longer ago than the dedupe window: --allow-stale puts it back"), nil
	}
	payload, err := Payload(ctx, r.store, rec)
	switch {
	case errors.Is(err, ErrPayload):
		return nil, refusal(envelope.ReasonUndecodable, "its payload is damaged"), nil
	case err != nil:
		return nil, nil, err
	}
	var msgs []*queue.Message
	if rec.Kind == KindMessage {
		msgs, err = r.message(ctx, rec, payload)
	} else {
		msgs, err = r.webhook(ctx, rec, payload)
	}
	var refused *resolve.Error
	if errors.As(err, &refused) {
		err = nil
	}
	for _, m := range msgs {
		m.Attributes = r.attributes(m.Attributes)
	}
	return msgs, refused, err
}

// attributes are a message's with the permission to be stale, where this run gives it. What an earlier run gave ended
// with that run.
func (r *redrive) attributes(of map[string]string) map[string]string {
	if _, given := of[envelope.AttrAllowStale]; given == r.opts.AllowStale {
		return of
	}
	out := maps.Clone(of)
	if !r.opts.AllowStale {
		delete(out, envelope.AttrAllowStale)
		return out
	}
	if out == nil {
		out = map[string]string{}
	}
	out[envelope.AttrAllowStale] = "1"
	return out
}

// message is the message as it was. A cookbook publisher's has its event resolved first, as of when it was
// published: what it lacks is taken from its publish time, which would be another one now.
func (r *redrive) message(ctx context.Context, rec *Record, data []byte) ([]*queue.Message, error) {
	m := &queue.Message{Data: data, Attributes: rec.Attributes, ID: rec.MessageID, PublishTime: rec.PublishedAt}
	if !resolve.IsCookbook(m) {
		return []*queue.Message{{Data: data, Attributes: rec.Attributes}}, nil
	}
	ev, raw, err := r.opts.Resolver.Cookbook(ctx, r.opts.Cookbook, m)
	if err != nil {
		return nil, err
	}
	out, err := encode(ev, raw)
	if err != nil {
		return nil, err
	}
	return []*queue.Message{out}, nil
}

// webhook is the events of a webhook, resolved as ingest does it. When some records are refused, those that are not
// are put back all the same.
func (r *redrive) webhook(ctx context.Context, rec *Record, body []byte) ([]*queue.Message, error) {
	ep := r.endpoint(rec.Endpoint)
	if ep == nil {
		return nil, refusal(envelope.ReasonUnusable, "its endpoint is not configured")
	}
	items, err := r.opts.Resolver.Webhook(ctx, ep, resolve.Request{
		Tenant: rec.PathTenant, VerifiedID: rec.VerifiedID, Origin: visitor.OriginWebhook,
		Receipt: visitor.Receipt{ReceivedAt: rec.ReceivedAt, FunctionExecutionID: rec.FunctionExecutionID},
	}, body)
	if err != nil {
		return nil, err
	}
	var msgs []*queue.Message
	var refused error
	for i := range items {
		it := &items[i]
		if it.Err != nil && refused == nil {
			refused = it.Err
		}
		if it.Event == nil {
			continue
		}
		m, err := encode(it.Event, it.Raw)
		if err != nil {
			refused = err
			continue
		}
		msgs = append(msgs, m)
	}
	return msgs, refused
}

func (r *redrive) endpoint(name string) *resolve.Endpoint {
	for i := range r.opts.Endpoints {
		if r.opts.Endpoints[i].Name == name {
			return &r.opts.Endpoints[i]
		}
	}
	return nil
}

func encode(ev *visitor.Event, raw []byte) (*queue.Message, error) {
	m, err := envelope.Encode(ev, raw)
	if err != nil {
		// The codec's texts name fields and quote nothing.
		return nil, refusal(envelope.ReasonUnusable, err.Error())
	}
	return m, nil
}
