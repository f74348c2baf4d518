package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/simulate"
)

func (c *cli) devCommand() *cobra.Command {
	var port int
	var withSamples, once bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run all of usher on this machine",
		Long: `Run the HTTP functions and the daemon in one process on loopback, with two demo tenants, acme and globex. Topics,
subscriptions and data are in memory and gone at the end, unless PUBSUB_EMULATOR_HOST or FIRESTORE_EMULATOR_HOST
names one of Google's emulators. It needs no cloud and no configuration; endpoints of a configuration are used.

Commands in another shell work with it once ` + devAddrEnv + ` is set to what it prints. It ends with Ctrl-C. Logs are
warnings and errors as text, on standard error: --log-level and --log-format change that.`,
		Example: "  usher dev\n  usher dev --samples          # with some webhooks to begin with\n" +
			"  usher dev --port 0 --log-level info",
		Args: want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if once && !withSamples {
				return usagef("--once goes with --samples")
			}
			more := map[string]any{}
			if cmd.Flags().Changed("port") {
				more["http.port"] = port
			}
			return c.dev(cmd.Context(), more, withSamples, once)
		},
	}
	f := cmd.Flags()
	f.IntVar(&port, "port", 8080, "`PORT` of the HTTP functions; 0, or when it is taken, a free one")
	f.BoolVar(&withSamples, "samples", false, "send some webhooks of each source and print what is stored then")
	f.BoolVar(&once, "once", false, "end after the samples")
	return cmd
}

func (c *cli) dev(ctx context.Context, more map[string]any, withSamples, once bool) error {
	cfg, err := c.config(more)
	if err != nil {
		return err
	}
	quiet(cfg)
	logger, err := app.NewLogger(c.stderr, cfg, "dev")
	if err != nil {
		return err
	}
	d, err := app.NewDev(ctx, cfg, logger)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // it was asked to end
	case err != nil:
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(running) }()
	c.welcome(ctx, d)
	if withSamples {
		err = c.sendSamples(running, cfg, d)
		if ctx.Err() != nil {
			err = nil // it was asked to end
		}
		if err != nil || once {
			stop()
		} else {
			fmt.Fprintln(c.stdout, "\nusher stays up until Ctrl-C.")
		}
	}
	return errors.Join(err, <-ended)
}

// quiet makes logs fit for a terminal where nobody asked for another kind.
func quiet(cfg *config.Config) {
	for _, v := range cfg.Values() {
		switch {
		case v.Origin != config.FromDefault:
		case v.Key == "log.level":
			cfg.Log.Level = "warn"
		case v.Key == "log.format":
			cfg.Log.Format = "text"
		}
	}
}

// welcome prints what can be done now.
func (c *cli) welcome(ctx context.Context, d *app.Dev) {
	var b strings.Builder
	info := d.Info()
	b.WriteString("usher runs on this machine. Webhooks go to\n\n")
	_ = printTable(&b, func(t *table) { // a strings.Builder takes everything
		for _, e := range info.Endpoints {
			t.row("  "+e.Source, info.IngestURL+ingest.Prefix+e.Name, e.Mode)
		}
	})
	if line := curlOf(ctx, &info); line != "" {
		b.WriteString("\nSend one:\n\n" + line)
	}
	fmt.Fprintf(&b, `
In another shell:

export %[1]s=%[2]s
%[3]s send midbound --wait
%[3]s usage acme
%[3]s visitor list acme
%[3]s tenant list
%[3]s simulate --count 1000

`, devAddrEnv, d.LinkAddr(), c.program)
	fmt.Fprint(c.stdout, b.String())
}

// curlBody is a small webhook of MDB's cookbook.
const curlBody = `{"version":"v1","options":{"tenant_id":"acme","page_id":"pricing"},` +
	`"data":{"first_name":"Ada","last_name":"Example","work_email":"ada@example.com"}}`

// curlOf is a command line for the endpoint that needs no computed signature, "" where there is none.
func curlOf(ctx context.Context, info *devlink.Info) string {
	for i := range info.Endpoints {
		e := &info.Endpoints[i]
		if e.Source != "mdb_legacy" {
			continue
		}
		if req, err := app.NewWebhook(ctx, info.IngestURL, e, "", []byte(curlBody)); err == nil {
			return curl(req, []byte(curlBody))
		}
	}
	return ""
}

// samplesEach is how many webhooks of each source each demo tenant gets.
const samplesEach = 4

// sendSamples sends webhooks through HTTP, waits until they are stored and prints what is.
func (c *cli) sendSamples(ctx context.Context, cfg *config.Config, d *app.Dev) error {
	info := d.Info()
	seed := rand.Uint64()
	events := map[visitor.EventID]visitor.TenantID{}
	for _, t := range app.DemoTenants() {
		for i := range info.Endpoints {
			e := &info.Endpoints[i]
			if err := sendSeries(ctx, &info, e, t.ID, seed, events); err != nil {
				return fmt.Errorf("samples of %s for %s: %w", e.Source, t.ID, err)
			}
		}
	}
	op, err := app.OpenOperator(ctx, cfg, d.LinkAddr())
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Sent %d sample webhooks of invented visitors. What is stored now, per tenant:\n", len(events))
	err = waitStored(ctx, op, events)
	for _, t := range app.DemoTenants() {
		if err == nil {
			err = c.summary(ctx, op, t.ID)
		}
	}
	return errors.Join(err, op.Close())
}

func sendSeries(
	ctx context.Context, info *devlink.Info, e *devlink.Endpoint, id visitor.TenantID, seed uint64,
	events map[visitor.EventID]visitor.TenantID,
) error {
	list, err := samples(simulate.Tenant{ID: id, Host: sampleHost("", id)}, e, seed, samplesEach)
	if err != nil {
		return err
	}
	for i := range list {
		req, err := app.NewWebhook(ctx, info.IngestURL, e, urlTenant(&list[i]), list[i].Body)
		if err != nil {
			return err
		}
		r, err := post(req)
		if err != nil {
			return err
		}
		if r.EventID == "" {
			return fmt.Errorf("the endpoint answered %d without an event", r.Status)
		}
		events[r.EventID] = id
	}
	return nil
}

// summary prints what is stored of a tenant.
func (c *cli) summary(ctx context.Context, op *app.Operator, id visitor.TenantID) error {
	fmt.Fprintf(c.stdout, "\nTenant %s\n\n", id)
	if err := c.showUsage(ctx, op, id, thisMonth()); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	return c.listVisitors(ctx, op, id, nil, 20)
}
