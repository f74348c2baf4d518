package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/source/vendors"
)

// traffic describes messages to be made.
type traffic struct {
	Seed       uint64  `json:"seed,omitempty"` // 0 is 1
	Events     int     `json:"events"`
	Tenants    int     `json:"tenants"`            // Zipf distributed
	Visitors   int     `json:"visitors,omitempty"` // of a tenant; 0 is one for every three events
	Duplicates float64 `json:"duplicates,omitempty"`
	Padding    int     `json:"padding,omitempty"` // bytes of noise in each webhook
	Prefix     string  `json:"prefix,omitempty"`  // of the tenants' names
}

func (t *traffic) validate() error {
	if t.Events < 1 || t.Tenants < 1 || t.Duplicates < 0 || t.Duplicates > 1 {
		return errTraffic
	}
	return nil
}

var errTraffic = fmt.Errorf("events and tenants: want at least 1; duplicates: 0 to 1")

// corpus is messages as the ingest function publishes them, to be published as often as needed.
type corpus struct {
	tenants  []visitor.TenantID
	messages []message
	events   int // distinct
}

// message is one message of a corpus.
type message struct {
	*queue.Message
	event     string // id
	number    int    // of the event, from 0
	duplicate bool   // the event's second message
}

// corpus makes the messages.
func (t traffic) corpus(ctx context.Context) (*corpus, error) {
	c := &corpus{events: t.Events, messages: make([]message, 0, t.Events)}
	named := simulate.Tenants(t.Tenants)
	for i := range named {
		named[i].ID = visitor.TenantID(t.Prefix) + named[i].ID
		c.tenants = append(c.tenants, named[i].ID)
	}
	endpoints := make([]simulate.Endpoint, 0, 3)
	for _, s := range simulate.Sources() {
		endpoints = append(endpoints, simulate.Endpoint{Name: s, Source: s})
	}
	g, err := simulate.New(simulate.Options{
		Seed: max(t.Seed, 1), Count: t.Events, Tenants: named, Endpoints: endpoints, Duplicates: t.Duplicates,
		Visitors: t.Visitors, Start: time.Now().Add(-time.Hour), Interval: time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	// What repeats is the same webhook received within the vendor's retry window, so all have one receipt.
	e := &encoder{resolver: resolve.New(nobody{}), received: time.Now(), noise: rand.NewChaCha8([32]byte{1})}
	for {
		w, ok, err := g.Next()
		if err != nil || !ok {
			return c, err
		}
		m, err := e.encode(ctx, &w, t.Padding)
		if err != nil {
			return nil, err
		}
		c.messages = append(c.messages, message{m, m.Attributes[envelope.AttrEvent], w.Number, w.Duplicate})
	}
}

// nobody owns no route; every webhook here names its tenant.
type nobody struct{ resolve.TenantFinder }

// encoder does to webhooks what the ingest function does.
type encoder struct {
	resolver *resolve.Resolver
	received time.Time
	noise    *rand.ChaCha8
}

func (e *encoder) encode(ctx context.Context, w *simulate.Webhook, padding int) (*queue.Message, error) {
	adapter, err := vendors.New().Lookup(w.Source)
	if err != nil {
		return nil, err
	}
	body, err := e.pad(w.Body, padding)
	if err != nil {
		return nil, err
	}
	items, err := e.resolver.Webhook(ctx, &resolve.Endpoint{Name: w.Source, Adapter: adapter}, resolve.Request{
		Tenant: string(w.Tenant), Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: e.received},
	}, body)
	if err != nil {
		return nil, err
	}
	if len(items) != 1 || items[0].Err != nil {
		return nil, fmt.Errorf("simulated webhook of %s is not one event", w.Source)
	}
	return envelope.Encode(items[0].Event, items[0].Raw)
}

// pad adds a field of noise, which hardly compresses, to a JSON object.
func (e *encoder) pad(body []byte, n int) ([]byte, error) {
	if n == 0 {
		return body, nil
	}
	var all map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("pad webhook: %w", err)
	}
	b := make([]byte, n*3/4)
	_, _ = e.noise.Read(b) // never fails
	all["padding"] = base64.StdEncoding.EncodeToString(b)
	return json.Marshal(all)
}

// publishAll publishes messages as fast as the queue takes them.
func publishAll(ctx context.Context, p queue.Publisher, messages []message) error {
	grp, ctx := errgroup.WithContext(ctx)
	grp.SetLimit(200)
	for _, m := range messages {
		if ctx.Err() != nil {
			break
		}
		grp.Go(func() error {
			_, err := p.Publish(ctx, m.Message)
			return err
		})
	}
	if err := grp.Wait(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
