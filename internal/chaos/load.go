package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit/backlog"
)

// load is the traffic of a scenario.
type load struct {
	events   int
	tenants  []simulate.Tenant
	visitors int  // of each tenant; 0 for a third of its events
	clean    bool // without poison
}

const (
	duplicates  = 0.05
	poisonEvery = 100
)

// messages makes the traffic, writes it into the books and creates its tenants.
func (r *rig) messages(ctx context.Context, l load) ([]*queue.Message, error) {
	now := time.Now().UTC()
	g, err := simulate.New(simulate.Options{
		Seed: r.seed() + uint64(r.want.Messages()), Count: l.events, Tenants: l.tenants, Endpoints: backlog.Endpoints(),
		Duplicates: duplicates, Visitors: l.visitors, Start: now.Add(-time.Hour), Interval: 10 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	enc := backlog.NewEncoder(now)
	var out []*queue.Message
	for {
		w, ok, err := g.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return out, r.createTenants(ctx, l.tenants)
		}
		made, err := enc.Messages(ctx, &w)
		if err != nil {
			return nil, fmt.Errorf("make messages: %w", err)
		}
		for _, m := range made {
			r.want.Add(m.Event)
			out = append(out, m.Message)
			if !l.clean && len(out)%poisonEvery == poisonEvery/2 {
				bad, err := r.poison(m.Event)
				if err != nil {
					return nil, err
				}
				out = append(out, bad)
			}
		}
	}
}

func (r *rig) createTenants(ctx context.Context, tenants []simulate.Tenant) error {
	reg, err := app.NewRegistry()
	if err != nil {
		return err
	}
	dir, err := app.NewDirectory(r.cfg, r.backend.Store, reg)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, t := range tenants {
		for {
			_, err := dir.Create(ctx, &tenant.Tenant{ID: t.ID})
			if err == nil || errors.Is(err, directory.ErrExists) {
				break
			}
			if c := code.Of(err); c != code.Unavailable && c != code.Conflict {
				return fmt.Errorf("create tenant: %w", err)
			}
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish publishes at a rate a second, around the proxy; 0 is as fast as it goes. It returns when all is
// acknowledged.
func (r *rig) publish(ctx context.Context, messages []*queue.Message, perSecond float64) error {
	limit := rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		limit = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/20)))
	}
	topic := r.backend.Queue.Publisher(r.cfg.PubSub.Topic)
	grp, gctx := errgroup.WithContext(ctx)
	grp.SetLimit(publishers)
	for _, m := range messages {
		if err := limit.Wait(gctx); err != nil {
			break // the group or the end of ctx says why
		}
		grp.Go(func() error {
			id, err := again(gctx, func() (string, error) { return topic.Publish(gctx, m) })
			if err == nil {
				r.ledger.expect(id)
			}
			return err
		})
	}
	if err := grp.Wait(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return context.Cause(ctx) // told to stop before it had published everything
}

const publishers = 400

// again repeats a publish that a busy emulator refused; a copy too many is a duplicate like any other.
func again(ctx context.Context, publish func() (string, error)) (id string, err error) {
	for range 5 {
		if id, err = publish(); err == nil || ctx.Err() != nil {
			return id, err
		}
	}
	return id, err
}

// during publishes in the background while f goes on, and waits for both.
func (r *rig) during(ctx context.Context, messages []*queue.Message, perSecond float64, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var published error
	wg.Go(func() {
		if published = r.publish(ctx, messages, perSecond); published != nil {
			cancel()
		}
	})
	err := f(ctx)
	if err != nil {
		cancel()
	}
	wg.Wait()
	return errors.Join(err, published)
}

// flooded are many small tenants and one that has factor times the events of all others together.
func (r *rig) flooded(ctx context.Context, events, factor int) (flood, others []*queue.Message, err error) {
	big := []simulate.Tenant{{ID: "tenant-flood"}}
	if flood, err = r.messages(ctx, load{events: events, tenants: big}); err != nil {
		return nil, nil, err
	}
	others, err = r.messages(ctx, load{events: max(events/factor, 1), tenants: simulate.Tenants(10), clean: true})
	return flood, others, err
}

// mixed puts the messages of the second list evenly among those of the first.
func mixed(a, b []*queue.Message) []*queue.Message {
	out := slices.Clone(a)
	for i, m := range b {
		out = slices.Insert(out, min(len(out), (i+1)*len(a)/(len(b)+1)+i), m)
	}
	return out
}
