package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// preload stores n small events with their visitors, one visitor for every three of them, through a committer of its
// own: the daemon that is measured knows nothing of them.
func preload(ctx context.Context, s store.Store, tenants []visitor.TenantID, n int) error {
	if n == 0 {
		return nil
	}
	c, err := commit.New(commit.Options{
		Store: s, Now: time.Now, MaxEvents: 150, MaxBytes: store.MaxCommit - 1, Linger: time.Millisecond, Concurrency: 4,
		Timeout: time.Minute, Shards: 8, CacheSize: 1, Retention: 365 * 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	records := make([]*tenant.Tenant, len(tenants))
	for i, id := range tenants {
		records[i] = benchTenant(id, true)
	}
	effects := []processor.Effect{processor.Record{}, processor.Meter{}, processor.MergeVisitor{}}
	now := time.Now()
	grp, gctx := errgroup.WithContext(ctx)
	const workers = 1200
	for w := range workers {
		grp.Go(func() error {
			for i := w; i < n && gctx.Err() == nil; i += workers {
				t := records[i%len(records)]
				ev := smallEvent(t.ID, i, now)
				if err := c.Add(gctx, &commit.Item{Event: ev, Tenant: t, Effects: effects, Bytes: 400}); err != nil {
					return err
				}
			}
			return gctx.Err()
		})
	}
	if err := grp.Wait(); err != nil {
		return fmt.Errorf("store events beforehand: %w", err)
	}
	return c.Close(ctx)
}

// smallEvent has next to nothing in it. Of one visitor the events are neighbours, so that a batch merges them once.
func smallEvent(t visitor.TenantID, i int, now time.Time) *visitor.Event {
	ev := &visitor.Event{
		Schema: visitor.Schema, ID: visitor.EventID(fmt.Sprintf("evt_small%012d", i)), Type: visitor.TypeVisitorIdentified,
		TenantID: t, Source: "leadpipe", Origin: visitor.OriginWebhook, IdentifiedAt: now,
		Receipt: visitor.Receipt{ReceivedAt: now},
		Person:  visitor.Person{Emails: []visitor.Email{{Address: fmt.Sprintf("small.%d@initech.example", i/3)}}},
	}
	ev.VisitorID = ev.Visitor()
	return ev
}
