package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/source/vendors"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/usage"
)

// backlog is published messages waiting for a consumer.
type backlog struct {
	cfg      *config.Config
	backend  *app.Backend
	tenants  []simulate.Tenant
	messages int
	month    string
}

func loadConfig(o options) (*config.Config, error) {
	cfg, err := config.Load(config.Options{})
	if err != nil {
		return nil, err
	}
	cfg.Project, cfg.PubSub.EmulatorHost, cfg.Firestore.EmulatorHost = o.project, o.pubsub, o.firestore
	cfg.Consumer.HealthAddr = "127.0.0.1:0"
	cfg.PubSub.Streams = streams
	return cfg, nil
}

// streams is how many streaming pulls every contender uses: the emulator is slow with fewer.
const streams = 4

// prepare makes tenants and messages and publishes these.
func prepare(ctx context.Context, o options, c contender) (*backlog, error) {
	cfg, err := loadConfig(o)
	if err != nil {
		return nil, err
	}
	b := &backlog{cfg: cfg, tenants: simulate.Tenants(o.tenants), month: now().UTC().Format("2006-01")}
	if b.backend, err = app.Open(ctx, cfg); err != nil {
		return nil, err
	}
	if err := b.backend.Queue.Create(ctx, app.Topology(cfg)); err != nil {
		return nil, fmt.Errorf("create topology: %w", err)
	}
	if err := b.createTenants(ctx, c); err != nil {
		return nil, err
	}
	return b, b.publish(ctx, o)
}

func (b *backlog) close() { _ = b.backend.Close() } // nothing is lost with it

func (b *backlog) createTenants(ctx context.Context, c contender) error {
	reg, err := app.NewRegistry()
	if err != nil {
		return err
	}
	dir, err := app.NewDirectory(b.cfg, b.backend.Store, reg)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, t := range b.tenants {
		rec := &tenant.Tenant{ID: t.ID, Processors: []tenant.Binding{
			{Name: "profile", Settings: map[string]any{"visitors": c.visitors}},
		}}
		if _, err := dir.Create(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes simulated webhooks as the ingest function would.
func (b *backlog) publish(ctx context.Context, o options) error {
	endpoints := make([]simulate.Endpoint, 0, 3)
	for _, s := range simulate.Sources() {
		endpoints = append(endpoints, simulate.Endpoint{Name: s, Source: s})
	}
	g, err := simulate.New(simulate.Options{
		Seed: 1, Count: o.events, Tenants: b.tenants, Endpoints: endpoints, Duplicates: o.duplicates,
		Start: now().Add(-time.Hour), Interval: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	// What repeats is the same webhook received within the vendor's retry window, so all have one receipt.
	m := &messages{resolver: resolve.New(nobody{}), received: now(), topic: b.backend.Queue.Publisher(b.cfg.PubSub.Topic)}
	grp, ctx := errgroup.WithContext(ctx)
	grp.SetLimit(200)
	for {
		w, ok, err := g.Next()
		if err != nil || !ok {
			return joinWait(err, grp)
		}
		b.messages++
		grp.Go(func() error { return m.publish(ctx, &w) })
	}
}

func joinWait(err error, grp *errgroup.Group) error {
	if werr := grp.Wait(); werr != nil {
		return werr
	}
	return err
}

type messages struct {
	resolver *resolve.Resolver
	received time.Time
	topic    queue.Publisher
}

func (m *messages) publish(ctx context.Context, w *simulate.Webhook) error {
	adapter, err := vendors.New().Lookup(w.Source)
	if err != nil {
		return err
	}
	ep := &resolve.Endpoint{Name: w.Source, Adapter: adapter}
	items, err := m.resolver.Webhook(ctx, ep, resolve.Request{
		Tenant: string(w.Tenant), Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: m.received},
	}, w.Body)
	if err != nil {
		return err
	}
	for i := range items {
		if items[i].Err != nil {
			return items[i].Err
		}
		msg, err := envelope.Encode(items[i].Event, items[i].Raw)
		if err != nil {
			return err
		}
		if _, err := m.topic.Publish(ctx, msg); err != nil {
			return fmt.Errorf("publish backlog: %w", err)
		}
	}
	return nil
}

// nobody owns no route; every webhook here names its tenant.
type nobody struct{ resolve.TenantFinder }

// counted sums the usage counters that the contender wrote.
func (b *backlog) counted(ctx context.Context, c contender) (int64, error) {
	var sum int64
	for _, t := range b.tenants {
		if c.name == "loop-20" || c.name == "loop-1000" {
			n, err := loopCounter(ctx, b.backend.Store, t.ID)
			if err != nil {
				return 0, err
			}
			sum += n
			continue
		}
		m, err := usage.Read(ctx, b.backend.Store, t.ID, b.month, b.cfg.Consumer.UsageShards)
		if err != nil {
			return 0, err
		}
		sum += m.Events
	}
	return sum, nil
}

func loopCounter(ctx context.Context, s store.Store, id visitor.TenantID) (int64, error) {
	p, err := store.NewPath("tenants", string(id), "counters", "usage")
	if err != nil {
		return 0, err
	}
	docs, err := s.Get(ctx, []store.Path{p})
	if err != nil {
		return 0, fmt.Errorf("read counter: %w", err)
	}
	return docs[0].Fields.Int("events"), nil
}
