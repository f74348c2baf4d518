package directory

import (
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/fields"
	"github.com/usherhq/usher/internal/host"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// record is a tenant's document.
type record struct {
	Name           string    `json:"name"`
	Status         string    `json:"status"`
	Domains        []string  `json:"domains"`
	Pixels         []string  `json:"pixels"`
	Processors     []binding `json:"processors"`
	UsagePages     []string  `json:"usage_pages"`
	UsageCampaigns []string  `json:"usage_campaigns"`
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
	Version        int64     `json:"version"`
}

type binding struct {
	Name     string         `json:"name"`
	Settings map[string]any `json:"settings"`
}

func encode(t *tenant.Tenant) (store.Fields, error) {
	r := record{
		Name: t.Name, Status: string(t.Status), Domains: t.Domains, Pixels: t.Pixels,
		UsagePages: t.UsagePages, UsageCampaigns: t.UsageCampaigns,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, Version: t.Version,
	}
	for i, b := range t.Processors {
		if _, err := fields.FromMap(b.Settings); err != nil {
			return nil, fmt.Errorf("processors[%d].settings: %w", i, err)
		}
		r.Processors = append(r.Processors, binding{b.Name, b.Settings})
	}
	return fields.Encode(&r), nil
}

func (r *record) tenant(id visitor.TenantID) *tenant.Tenant {
	t := &tenant.Tenant{
		ID: id, Name: r.Name, Status: tenant.Status(r.Status), Domains: r.Domains, Pixels: r.Pixels,
		UsagePages: r.UsagePages, UsageCampaigns: r.UsageCampaigns,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Version: r.Version,
	}
	for _, b := range r.Processors {
		t.Processors = append(t.Processors, tenant.Binding{Name: b.Name, Settings: b.Settings})
	}
	return t
}

// normalize brings routes into the form they are looked up by; sorted, each once.
func normalize(t *tenant.Tenant) error {
	domains := make([]string, 0, len(t.Domains))
	for i, d := range t.Domains {
		h, err := host.Normalize(d)
		if err != nil {
			return fmt.Errorf("domains[%d]: %w", i, err)
		}
		domains = append(domains, h)
	}
	t.Domains = sortedSet(domains)
	t.Pixels = sortedSet(slices.Clone(t.Pixels))
	return nil
}

func sortedSet(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func routesOf(t *tenant.Tenant) []source.Route {
	if t == nil {
		return nil
	}
	out := make([]source.Route, 0, len(t.Domains)+len(t.Pixels))
	for _, d := range t.Domains {
		out = append(out, source.Route{Kind: source.RouteDomain, Value: d})
	}
	for _, p := range t.Pixels {
		out = append(out, source.Route{Kind: source.RoutePixel, Value: p})
	}
	return out
}

func routeChanges(n, old *tenant.Tenant) (gained, lost []source.Route) {
	now, before := routesOf(n), routesOf(old)
	for _, r := range now {
		if !slices.Contains(before, r) {
			gained = append(gained, r)
		}
	}
	for _, r := range before {
		if !slices.Contains(now, r) {
			lost = append(lost, r)
		}
	}
	return gained, lost
}

func routeWrites(id visitor.TenantID, gained, lost []source.Route) ([]store.Write, error) {
	writes := make([]store.Write, 0, len(gained)+len(lost))
	for _, r := range gained {
		p, err := layout.Route(string(r.Kind), r.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: forbidden value: %w", r.Kind, err)
		}
		writes = append(writes, store.Write{
			Path: p, IfMissing: true, Fields: store.Fields{{Name: "tenant_id", Value: string(id)}},
		})
	}
	for _, r := range lost {
		p, err := layout.Route(string(r.Kind), r.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: forbidden value: %w", r.Kind, err)
		}
		writes = append(writes, store.Write{Path: p, Delete: true})
	}
	return writes, nil
}
