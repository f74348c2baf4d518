// Package tenant is the tenant record: status, routes, processor chain and what is metered by name.
package tenant

import (
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

// Status is a tenant's state.
type Status string

// The states.
const (
	Active     Status = "active"
	Disabled   Status = "disabled"   // paused: its events are held until it is active again
	Offboarded Status = "offboarded" // gone: its events are counted and discarded; what is stored stays until it is erased
)

// Tenant is a customer of the platform.
type Tenant struct {
	ID     visitor.TenantID `json:"id" yaml:"id"`
	Name   string           `json:"name,omitempty" yaml:"name,omitempty"`
	Status Status           `json:"status" yaml:"status"`
	// Domains are the websites whose events belong to the tenant: normalised hosts, each of one tenant only.
	Domains []string `json:"domains,omitempty" yaml:"domains,omitempty"`
	// Pixels are the vendors' pixel, workspace or website ids that belong to the tenant, likewise.
	Pixels []string `json:"pixels,omitempty" yaml:"pixels,omitempty"`
	// Processors is the chain that each event goes through, in order; empty means DefaultChain.
	Processors []Binding `json:"processors,omitempty" yaml:"processors,omitempty"`
	// UsagePages and UsageCampaigns are the page and campaign ids that usage counts by name; the rest is
	// counted as "other".
	UsagePages     []string  `json:"usage_pages,omitempty" yaml:"usage_pages,omitempty"`
	UsageCampaigns []string  `json:"usage_campaigns,omitempty" yaml:"usage_campaigns,omitempty"`
	CreatedAt      time.Time `json:"created_at,omitzero" yaml:"created_at,omitempty"`
	UpdatedAt      time.Time `json:"updated_at,omitzero" yaml:"updated_at,omitempty"`
	// Version counts the changes of the record.
	Version int64 `json:"version,omitempty" yaml:"version,omitempty"`
}

// Binding is one processor in a tenant's chain with its settings.
type Binding struct {
	Name     string         `json:"name" yaml:"name"`
	Settings map[string]any `json:"settings,omitempty" yaml:"settings,omitempty"`
}

// DefaultChain is what a tenant without processors of its own has.
func DefaultChain() []Binding { return []Binding{{Name: "profile"}} }

// Chain returns the tenant's chain, or the default one.
func (t *Tenant) Chain() []Binding {
	if len(t.Processors) == 0 {
		return DefaultChain()
	}
	return t.Processors
}

// Limits of a record, so that it stays a small document.
const (
	MaxProcessors = 20
	MaxRoutes     = 200
	MaxUsageKeys  = 100
	MaxName       = 200
)

// Validate reports every problem of the record at once. With a registry it also checks the chain: each
// processor is known and accepts its settings.
func (t *Tenant) Validate(reg *processor.Registry) error {
	var errs []error
	if err := t.ID.Validate(); err != nil {
		errs = append(errs, err)
	}
	if t.Status != Active && t.Status != Disabled && t.Status != Offboarded {
		errs = append(errs, fmt.Errorf("status: want %s, %s or %s", Active, Disabled, Offboarded))
	}
	for what, over := range map[string]bool{
		"name":            len(t.Name) > MaxName,
		"domains":         len(t.Domains) > MaxRoutes,
		"pixels":          len(t.Pixels) > MaxRoutes,
		"processors":      len(t.Processors) > MaxProcessors,
		"usage_pages":     len(t.UsagePages) > MaxUsageKeys,
		"usage_campaigns": len(t.UsageCampaigns) > MaxUsageKeys,
	} {
		if over {
			errs = append(errs, fmt.Errorf("%s: too long", what))
		}
	}
	if reg != nil {
		for i, b := range t.Chain() {
			if _, err := reg.Configure(b.Name, b.Settings); err != nil {
				errs = append(errs, fmt.Errorf("processors[%d]: %w", i, err))
			}
		}
	}
	return errors.Join(errs...)
}
