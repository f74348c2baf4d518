// Package backlog turns simulated webhooks into the messages that ingest would publish for them.
package backlog

import (
	"context"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/vendors"
)

// Message is an event and the message that carries it.
type Message struct {
	Event   *visitor.Event
	Message *queue.Message
}

// Encoder makes messages. It is safe for concurrent use.
type Encoder struct {
	resolver *resolve.Resolver
	sources  *source.Registry
	received time.Time
}

// NewEncoder returns an encoder. What repeats is the same webhook received within the vendor's retry window, so all
// have one receipt.
func NewEncoder(received time.Time) *Encoder {
	return &Encoder{resolver: resolve.New(nobody{}), sources: vendors.New(), received: received}
}

// Endpoints are one unsigned endpoint for each source that can be simulated.
func Endpoints() []simulate.Endpoint {
	var out []simulate.Endpoint
	for _, s := range simulate.Sources() {
		out = append(out, simulate.Endpoint{Name: s, Source: s})
	}
	return out
}

// Messages returns the messages of one webhook, one for each record.
func (e *Encoder) Messages(ctx context.Context, w *simulate.Webhook) ([]Message, error) {
	adapter, err := e.sources.Lookup(w.Source)
	if err != nil {
		return nil, err
	}
	ep := &resolve.Endpoint{Name: w.Source, Adapter: adapter}
	items, err := e.resolver.Webhook(ctx, ep, resolve.Request{
		Tenant: string(w.Tenant), Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: e.received},
	}, w.Body)
	if err != nil {
		return nil, err
	}
	out := make([]Message, 0, len(items))
	for i := range items {
		if items[i].Err != nil {
			return nil, items[i].Err
		}
		m, err := envelope.Encode(items[i].Event, items[i].Raw)
		if err != nil {
			return nil, err
		}
		out = append(out, Message{items[i].Event, m})
	}
	return out, nil
}

// nobody owns no route; every simulated webhook names its tenant.
type nobody struct{ resolve.TenantFinder }
