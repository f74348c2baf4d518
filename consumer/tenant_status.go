package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/tenant"
)

// setStatus changes a tenant's status, unless it has it.
func setStatus(ctx context.Context, d *directory.Directory, id visitor.TenantID, to tenant.Status) (*tenant.Tenant, error) {
	t, err := d.Fresh(ctx, id)
	if err != nil || t.Status == to {
		return t, err //nolint:wrapcheck // tenantError says what it is about
	}
	return d.Update(ctx, id, func(t *tenant.Tenant) error { t.Status = to; return nil })
}

func (c *cli) tenantDisable() *cobra.Command {
	return &cobra.Command{
		Use:   "disable ID",
		Short: "Hold a tenant's events until it is enabled",
		Long: `Pause a tenant: its events are kept as they are, without being processed or counted, until the tenant is enabled.
It takes effect within tenants.staleness, 10 seconds by default.`,
		Example: "  usher tenant disable acme",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			return c.changeTenant(cmd.Context(), id, func(d *directory.Directory) (*tenant.Tenant, error) {
				return setStatus(cmd.Context(), d, id, tenant.Disabled)
			})
		},
	}
}

func (c *cli) tenantOffboard() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "offboard ID",
		Short: "Discard a tenant's events from now on",
		Long: `Discard what comes for a tenant from now on: it is counted and not stored, and cannot be brought back. What is
stored already is kept until it is erased or expires, held events included; the tenant keeps its domains and pixels,
which usher tenant update takes from it. Without --yes nothing is changed. It takes effect within tenants.staleness,
10 seconds by default, and usher tenant enable ends it.`,
		Example: "  usher tenant offboard acme --yes",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			err = c.changeTenant(cmd.Context(), id, func(d *directory.Directory) (*tenant.Tenant, error) {
				if !yes {
					return d.Fresh(cmd.Context(), id)
				}
				return setStatus(cmd.Context(), d, id, tenant.Offboarded)
			})
			if err == nil && !yes {
				fmt.Fprintln(c.stderr, "nothing was changed: --yes does it")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really discard")
	return cmd
}

func (c *cli) tenantEnable() *cobra.Command {
	var rate float64
	var noWait bool
	cmd := &cobra.Command{
		Use:   "enable ID",
		Short: "Process a tenant's events again, held ones included",
		Long: `Make a tenant active and put back the events that were held, with their identities and their first receipt. It waits
until every daemon knows of the change, tenants.staleness and consumer.commit_timeout, since until then events may
be held once more. It can be broken off and given again: it goes on where it was, and an event that is put back twice
has one effect.`,
		Example: "  usher tenant enable acme\n  usher tenant enable acme --rate 200",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			if rate < 0 {
				return usagef("--rate: want at least 0")
			}
			return c.operate(cmd.Context(), func(cfg *config.Config, op *app.Operator) error {
				return c.enable(cmd.Context(), cfg, op, id, rate, noWait)
			})
		},
	}
	cmd.Flags().Float64Var(&rate, "rate", 0, "held events put back a second; 0 for as fast as it goes")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the daemons: what they hold meanwhile is for the next time")
	return cmd
}

// enabled is the outcome as printed.
type enabled struct {
	*tenant.Tenant
	held.Report
}

func (c *cli) enable(
	ctx context.Context, cfg *config.Config, op *app.Operator, id visitor.TenantID, rate float64, noWait bool,
) (err error) {
	// The topic first: a tenant whose held events cannot be put back is not made active.
	r, err := app.OpenRedriver(ctx, cfg, op, c.getenv(devAddrEnv), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	t, err := setStatus(ctx, op.Tenants, id, tenant.Active)
	if err != nil {
		return tenantError(id, err)
	}
	if !noWait {
		known := cfg.Tenants.Staleness + cfg.Consumer.CommitTimeout
		// At most that long: the change may have been made by a clock ahead of this one.
		if err := c.settle(ctx, min(known, time.Until(t.UpdatedAt.Add(known)))); err != nil {
			return err
		}
	}
	out := enabled{Tenant: t}
	out.Report, err = c.release(ctx, op, id, held.ReleaseOptions{Events: r.Options.Events, Rate: rate}, noWait)
	if err == nil && out.Refused > 0 {
		err = fmt.Errorf("%d held events cannot be put back", out.Refused)
	}
	return errors.Join(c.showEnabled(&out), err)
}

// errNotActive ends putting events back: they would be held or discarded.
var errNotActive = errors.New("tenant is not active any more: what is held stays so")

// release releases held events, once or until there are none left.
func (c *cli) release(
	ctx context.Context, op *app.Operator, id visitor.TenantID, o held.ReleaseOptions, once bool,
) (sum held.Report, err error) {
	bar := newProgress(c.stderr, "released", 0)
	before := 0
	o.Progress = func(n int) { bar.at(before + n) }
	o.Allowed = func(ctx context.Context) error {
		t, err := op.Tenants.Fresh(ctx, id)
		if err == nil && t.Status != tenant.Active {
			err = errNotActive
		}
		return err //nolint:wrapcheck // it says what it is
	}
	for {
		rep, err := held.Release(ctx, op.Store, id, o)
		if rep != nil {
			sum = *rep
			sum.Released += before
		}
		if err != nil || once || sum.Released == before {
			if before > 0 {
				bar.end()
			}
			return sum, err //nolint:wrapcheck // it says what it is
		}
		before = sum.Released
	}
}

func (c *cli) showEnabled(out *enabled) error {
	return c.show(out, func(t *table) {
		tenantRows(out.Tenant)(t)
		t.row("put back", out.Released)
		if out.Refused > 0 {
			t.row("refused", out.Refused)
		}
		for _, f := range out.Refusals {
			t.row("  "+string(f.ID), f.Detail)
		}
	})
}

// settle waits until every daemon knows of a change.
func (c *cli) settle(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	fmt.Fprintf(c.stderr, "active; waiting %s until every daemon knows\n", d.Round(time.Second))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxCounted is how many held events are counted at most: each is read for it.
const maxCounted = 1000

func (c *cli) tenantShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a tenant's record",
		Long: `Show a tenant's record, and how many of its events are held. As JSON it is the record alone, which is what update
--file and import take.`,
		Example: "  usher tenant show acme -o json",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.showTenant(cmd.Context(), op, id)
			})
		},
	}
}

func (c *cli) showTenant(ctx context.Context, op *app.Operator, id visitor.TenantID) error {
	tn, err := op.Tenants.Fresh(ctx, id)
	if err != nil {
		return tenantError(id, err)
	}
	n := 0
	if c.output != "json" {
		if n, err = held.Count(ctx, op.Store, id, maxCounted); err != nil {
			return err //nolint:wrapcheck // it says what it is
		}
	}
	return c.show(tn, func(t *table) {
		tenantRows(tn)(t)
		switch {
		case n == maxCounted:
			t.row("held events", fmt.Sprintf("%d or more", n))
		case n > 0 || tn.Status == tenant.Disabled:
			t.row("held events", n)
		}
	})
}
