package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/usherhq/usher/internal/tenant"
)

// Change is what [Directory.Put] did, or would do.
type Change string

// The changes.
const (
	Created   Change = "created"
	Updated   Change = "updated"
	Unchanged Change = "unchanged"
)

// Check reports everything that is wrong with a record by itself, without reading the store.
func (d *Directory) Check(t *tenant.Tenant) error {
	_, err := d.normal(t)
	return err
}

// normal returns a checked copy in the form that is stored.
func (d *Directory) normal(t *tenant.Tenant) (*tenant.Tenant, error) {
	n := *t
	if n.Status == "" {
		n.Status = tenant.Active
	}
	if err := errors.Join(normalize(&n), n.Validate(d.opts.Registry)); err != nil {
		return nil, err
	}
	return &n, nil
}

// Put makes the stored tenant equal to t and writes nothing when it is so already. A record without status
// keeps the stored one, so that putting it again enables nobody. With dryRun it only says what it would do.
// Errors are those of [Directory.Create] and [Directory.Update].
func (d *Directory) Put(ctx context.Context, t *tenant.Tenant, dryRun bool) (Change, error) {
	want, err := d.normal(t)
	if err != nil {
		return "", fmt.Errorf("tenant: %w", err)
	}
	old, err := d.Fresh(ctx, t.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		if !dryRun {
			_, err = d.Create(ctx, want)
			return Created, err
		}
		return Created, nil
	case err != nil:
		return "", err
	}
	if t.Status == "" {
		want.Status = old.Status
	}
	same, err := equal(want, old)
	if err != nil || same || dryRun {
		return changeOf(same), err
	}
	_, err = d.Update(ctx, t.ID, func(n *tenant.Tenant) error { *n = *want; return nil })
	return Updated, err
}

func changeOf(same bool) Change {
	if same {
		return Unchanged
	}
	return Updated
}

// equal compares what an operator says of a tenant. Settings are compared as JSON: whether a number came as an
// integer or a float is an accident of the file's format.
func equal(a, b *tenant.Tenant) (bool, error) {
	x, err := canonical(a)
	if err != nil {
		return false, err
	}
	y, err := canonical(b)
	return bytes.Equal(x, y), err
}

func canonical(t *tenant.Tenant) ([]byte, error) {
	b, err := json.Marshal(&tenant.Tenant{
		ID: t.ID, Name: t.Name, Status: t.Status, Domains: t.Domains, Pixels: t.Pixels,
		Processors: t.Processors, UsagePages: t.UsagePages, UsageCampaigns: t.UsageCampaigns,
	})
	if err != nil {
		return nil, fmt.Errorf("compare tenants: %w", err)
	}
	return b, nil
}
