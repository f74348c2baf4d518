package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/deadletter"
)

// changeFlags are those of commands that change dead letters.
type changeFlags struct {
	letterFlags
	all, dryRun bool
	operator    string
}

func (ch *changeFlags) add(c *cli, cmd *cobra.Command) {
	ch.letterFlags.add(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&ch.all, "all", false, "mean every dead letter, where neither ids nor filters are given")
	f.BoolVar(&ch.dryRun, "dry-run", false, "change nothing, and say what would become of them")
	f.StringVar(&ch.operator, "operator", c.getenv("USER"), "`NAME` for the audit record")
}

// selection is what the ids and flags mean: never everything by accident.
func (ch *changeFlags) selection(ids []string) (deadletter.Selection, error) {
	f, err := ch.filter(time.Now())
	sel := deadletter.Selection{IDs: ids, Filter: f}
	switch {
	case err != nil:
		return sel, err
	case len(ids) > 0 && (ch.all || !f.IsZero()):
		return sel, usagef("give ids, or filters, or --all: not several of them")
	case len(ids) == 0 && !ch.all && f.IsZero():
		return sel, usagef("which ones? Give ids, filters such as --reason, or --all; --status alone does not choose")
	case ch.all && !f.IsZero():
		return sel, usagef("give filters or --all, not both")
	}
	return sel, nil
}

func (c *cli) deadletterRedrive() *cobra.Command {
	var ch changeFlags
	var o deadletter.RedriveOptions
	cmd := &cobra.Command{
		Use:   "redrive [ID...]",
		Short: "Put dead letters back",
		Long: `Put dead letters back: a message with its data and attributes, a webhook through what the functions do with it.
They keep their identities and their first receipt, so redriving twice has one effect, and usage counts in the
period of the first receipt. Each is marked once Pub/Sub has acknowledged it: a run that broke off goes on where it
was. Mend the cause first: what is still wrong is parked again.

What was first received longer ago than identity.window is refused, unless --allow-stale insists. What is stored
already still has no second effect, as long as its record is kept (identity.retention).`,
		Example: "  usher deadletter redrive --reason processor --tenant acme --dry-run\n" +
			"  usher deadletter redrive --class tenant --since 24h --rate 50\n  usher deadletter redrive dl_abc…",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			sel, err := ch.selection(args)
			if err != nil {
				return err
			}
			if o.Rate < 0 {
				return usagef("--rate: want at least 0")
			}
			if !o.Again {
				sel.Filter.Status = deadletter.Parked
			}
			o.Operator = ch.operator
			return c.operate(cmd.Context(), func(cfg *config.Config, op *app.Operator) error {
				return c.redrive(cmd.Context(), cfg, op, sel, o, ch.dryRun)
			})
		},
	}
	ch.add(c, cmd)
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "dead letters a second; 0 for as fast as it goes")
	cmd.Flags().BoolVar(&o.Again, "again", false, "also those that were redriven before")
	cmd.Flags().BoolVar(&o.AllowStale, "allow-stale", false, "also those first received longer ago than identity.window")
	return cmd
}

func (c *cli) redrive(
	ctx context.Context, cfg *config.Config, op *app.Operator, sel deadletter.Selection, o deadletter.RedriveOptions, dryRun bool,
) error {
	r, err := app.OpenRedriver(ctx, cfg, op, c.getenv(devAddrEnv), dryRun)
	if err != nil {
		return err
	}
	opts := r.Options
	opts.Rate, opts.Again, opts.AllowStale, opts.Operator = o.Rate, o.Again, o.AllowStale, o.Operator
	var bar *progress
	opts.Progress = func(done, total int) {
		if bar == nil {
			bar = newProgress(c.stderr, "looked at", total)
		}
		bar.at(done)
	}
	rep, err := deadletter.Redrive(ctx, op.Store, sel, opts)
	if bar != nil {
		bar.end()
	}
	if rep != nil {
		if err == nil && rep.Refused > 0 {
			err = refusedError(rep)
		}
		err = errors.Join(c.show(rep, func(t *table) { redriveRows(t, rep) }), letterError(err))
	} else {
		err = letterError(err)
	}
	return errors.Join(err, r.Close())
}

// refusedError says how many were refused, and what puts the stale ones back.
func refusedError(r *deadletter.Report) error {
	if r.Stale == 0 {
		return fmt.Errorf("%d of %d dead letters were refused", r.Refused, r.Matched)
	}
	return fmt.Errorf("%d of %d dead letters were refused, %d of them as stale: --allow-stale puts those back",
		r.Refused, r.Matched, r.Stale)
}

func redriveRows(t *table, r *deadletter.Report) {
	redriven := "redriven"
	if r.DryRun {
		redriven = "would be redriven"
	}
	t.row("matched", r.Matched)
	t.row(redriven, r.Redriven)
	t.row("events", r.Published)
	t.row("skipped", r.Skipped)
	t.row("refused", r.Refused)
	if r.Stale > 0 {
		t.row("of them stale", r.Stale)
	}
	t.pair("audit record", r.AuditID)
	for _, f := range r.Refusals {
		t.row("  "+f.ID, fmt.Sprintf("%s: %s", f.Reason, f.Detail))
	}
}

func (c *cli) deadletterPurge() *cobra.Command {
	var ch changeFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "purge [ID...]",
		Short: "Delete dead letters",
		Long: `Delete dead letters with their payloads, for good. Without --yes it is a dry run. Dead letters that nobody purges
expire by themselves.`,
		Example: "  usher deadletter purge --status redriven --until 7d --yes\n  usher deadletter purge dl_abc… --yes",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			sel, err := ch.selection(args)
			if err == nil {
				sel.Filter, err = ch.withStatus(sel.Filter)
			}
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ *config.Config, op *app.Operator) error {
				return c.purge(cmd.Context(), op, sel, deadletter.PurgeOptions{
					DryRun: ch.dryRun || !yes, Operator: ch.operator, Now: time.Now,
				})
			})
		},
	}
	ch.add(c, cmd)
	ch.addStatus(cmd.Flags())
	cmd.Flags().BoolVar(&yes, "yes", false, "really delete")
	return cmd
}

func (c *cli) purge(ctx context.Context, op *app.Operator, sel deadletter.Selection, o deadletter.PurgeOptions) error {
	rep, err := deadletter.Purge(ctx, op.Store, sel, o)
	if rep == nil {
		return letterError(err)
	}
	shown := c.show(rep, func(t *table) {
		t.row("matched", rep.Matched)
		t.row("purged", rep.Purged)
		t.pair("audit record", rep.AuditID)
	})
	if o.DryRun && err == nil {
		fmt.Fprintln(c.stderr, "nothing was deleted: --yes does it")
	}
	return errors.Join(shown, err)
}
