package dispatch

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/tenant"
)

// chain is a tenant's processors with their settings bound.
type chain struct {
	tenant  visitor.TenantID
	version int64     // of the record that it was made from, which is not kept: there can be 100,000
	updated time.Time // the same
	links   []link
	pure    bool    // all of them only compute
	door    breaker // of the tenant's bulkhead
}

type link struct {
	name    string
	handler processor.Handler
	breaker breaker
}

// chains keeps each tenant's chain until the tenant's record changes, and runs events through them.
type chains struct {
	registry  *processor.Registry
	cache     *otter.Cache[visitor.TenantID, *chain]
	bulkheads *bulkheads
	timeout   time.Duration // for one event's way through a chain
	logger    *slog.Logger
}

func newChains(o *Options) (*chains, error) {
	c, err := otter.New(&otter.Options[visitor.TenantID, *chain]{MaximumSize: o.CacheSize})
	if err != nil {
		return nil, fmt.Errorf("chains: %w", err)
	}
	return &chains{o.Registry, c, newBulkheads(o.TenantConcurrency), o.ProcessorTimeout, o.Logger}, nil
}

// of returns the tenant's chain. It returns [processor.ErrUnknown] when this process lacks a processor.
func (c *chains) of(t *tenant.Tenant) (*chain, error) {
	if ch, ok := c.cache.GetIfPresent(t.ID); ok &&
		ch.version == t.Version && ch.updated.Equal(t.UpdatedAt) {
		return ch, nil
	}
	bindings := t.Chain()
	ch := &chain{tenant: t.ID, version: t.Version, updated: t.UpdatedAt, links: make([]link, len(bindings)), pure: true}
	for i, b := range bindings {
		h, err := c.registry.Configure(b.Name, b.Settings)
		if err != nil {
			return nil, err
		}
		ch.links[i].name, ch.links[i].handler = b.Name, h
		reg, _ := c.registry.Lookup(b.Name)
		ch.pure = ch.pure && reg.Pure
	}
	c.cache.Set(t.ID, ch)
	return ch, nil
}
