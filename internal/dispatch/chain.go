package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/tenant"
)

// chain is a tenant's processors with their settings bound.
type chain struct {
	record *tenant.Tenant // the state of the record that it was made from
	links  []link
}

type link struct {
	name    string
	handler processor.Handler
}

// chains keeps each tenant's chain until the tenant's record changes.
type chains struct {
	registry *processor.Registry
	cache    *otter.Cache[visitor.TenantID, *chain]
}

func newChains(r *processor.Registry, size int) (*chains, error) {
	c, err := otter.New(&otter.Options[visitor.TenantID, *chain]{MaximumSize: size})
	if err != nil {
		return nil, fmt.Errorf("chains: %w", err)
	}
	return &chains{r, c}, nil
}

// of returns the tenant's chain. It returns [processor.ErrUnknown] when this process lacks a processor.
func (c *chains) of(t *tenant.Tenant) (*chain, error) {
	if ch, ok := c.cache.GetIfPresent(t.ID); ok &&
		ch.record.Version == t.Version && ch.record.UpdatedAt.Equal(t.UpdatedAt) {
		return ch, nil
	}
	ch := &chain{record: t}
	for _, b := range t.Chain() {
		h, err := c.registry.Configure(b.Name, b.Settings)
		if err != nil {
			return nil, err
		}
		ch.links = append(ch.links, link{b.Name, h})
	}
	c.cache.Set(t.ID, ch)
	return ch, nil
}

var errProcessorTimeout = errors.New("processor did not finish in time")

// run takes an event through the chain and returns the effects of all of it. A failing processor makes the
// whole chain fail: nothing of it is committed. One that does not even heed its context is left behind at the
// timeout. What was begun is finished while receiving ends, so the timeout is the only bound.
func (ch *chain) run(ctx context.Context, ev *visitor.Event, timeout time.Duration) ([]processor.Effect, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), timeout, errProcessorTimeout)
	defer cancel()
	type result struct {
		effects []processor.Effect
		err     error
	}
	done := make(chan result, 1)
	go func() {
		effects, err := ch.walk(ctx, ev)
		done <- result{effects, err}
	}()
	select {
	case r := <-done:
		return r.effects, r.err
	case <-ctx.Done():
		return nil, &processorError{"chain", context.Cause(ctx)}
	}
}

func (ch *chain) walk(ctx context.Context, ev *visitor.Event) ([]processor.Effect, error) {
	var effects []processor.Effect
	for i := range ch.links {
		l := &ch.links[i]
		res, err := l.process(ctx, ev)
		if err != nil {
			return nil, err
		}
		if len(effects) == 0 {
			effects = res.Effects // mostly there is one processor; its slice is read only
		} else {
			effects = append(effects[:len(effects):len(effects)], res.Effects...)
		}
		if res.Stop {
			break
		}
	}
	return effects, nil
}

// process calls one handler; a panic becomes a permanent error of this event.
func (l *link) process(ctx context.Context, ev *visitor.Event) (res processor.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			// What was thrown may hold personal data, so it is not part of the error.
			err = &processorError{l.name, processor.Permanent(fmt.Errorf("panic of type %T", r))}
		}
	}()
	if res, err = l.handler.Process(ctx, ev); err != nil {
		return res, &processorError{l.name, err}
	}
	if err := res.Validate(); err != nil {
		return res, &processorError{l.name, processor.Permanent(err)}
	}
	return res, nil
}
