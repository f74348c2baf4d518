package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/usage"
)

func (c *cli) usageCommand() *cobra.Command {
	var month string
	cmd := &cobra.Command{
		Use:   "usage TENANT",
		Short: "Show a tenant's usage of one month",
		Long: `Show what a tenant is metered on in one UTC month: events, identifications (first matches) and repeats, by
source and by day. An event counts in the month in which it was first received.`,
		Example: "  usher usage acme\n  usher usage acme --month 2026-10 -o json",
		Args:    want("TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenantID(args[0])
			if err != nil {
				return err
			}
			if month == "" {
				month = thisMonth()
			}
			if _, err := usage.ParseMonth(month); err != nil {
				return usagef("--month: %w", err)
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.showUsage(cmd.Context(), op, id, month)
			})
		},
	}
	cmd.Flags().StringVar(&month, "month", "", "UTC month as `YYYY-MM` (default: this month)")
	return cmd
}

// maxShards is the most that consumer.usage_shards can be. All are read, so that counts are whole whatever the
// daemons' own configuration says, or said earlier in the month.
const maxShards = 128

func thisMonth() string { return time.Now().UTC().Format("2006-01") }

func (c *cli) showUsage(ctx context.Context, op *app.Operator, id visitor.TenantID, month string) error {
	if _, err := op.Tenants.Fresh(ctx, id); err != nil {
		return tenantError(id, err)
	}
	m, err := usage.Read(ctx, op.Store, id, month, maxShards)
	if err != nil {
		return err
	}
	return c.show(m, func(t *table) { usageRows(t, m) })
}

func usageRows(t *table, m *usage.Month) {
	t.row("", "EVENTS", "IDENTIFICATIONS", "REPEATS")
	counts := func(name string, n usage.Counts) { t.row(name, n.Events, n.Identifications, n.Repeats) }
	counts(m.Month, m.Counts)
	for _, by := range []map[string]usage.Counts{m.Sources, m.Days} {
		for _, name := range slices.Sorted(maps.Keys(by)) {
			counts("  "+name, by[name])
		}
	}
	for _, by := range []struct {
		what string
		n    map[string]int64
	}{{"page", m.Pages}, {"campaign", m.Campaigns}, {"custom", m.Custom}} {
		for _, name := range slices.Sorted(maps.Keys(by.n)) {
			t.row("  "+by.what+" "+name, by.n[name])
		}
	}
}
