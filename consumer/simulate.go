package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/tenant"
)

// simulateFlags are those of `usher simulate`.
type simulateFlags struct {
	url, tenants       string
	sources            []string
	count, concurrency int
	rate, duplicates   float64
	seed               uint64
}

func (c *cli) simulateCommand() *cobra.Command {
	var s simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Send simulated traffic of many tenants, visitors and sources",
		Long: `Send simulated webhooks of invented visitors through the HTTP functions: those of the ` + "`usher dev`" + ` that
` + devAddrEnv + ` names, or those at --url with the endpoints of the configuration. The same seed makes the same
traffic, so sending it a second time makes duplicates only.

At the end it prints what was answered, and how many events each tenant must have had stored: usage has the
same number more. A number of tenants makes them in the running ` + "`usher dev`" + `: tenant-0001 and so on.

Sources: ` + strings.Join(simulate.Sources(), ", ") + ".",
		Example: "  usher simulate --count 10000 --tenants 50 --duplicates 0.05 --seed 7\n" +
			"  usher simulate --count 600 --rate 10 --tenants acme,globex --sources midbound",
		Args: want(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.simulate(cmd.Context(), &s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.url, "url", "", "base `URL` of the HTTP functions (default: those of the running usher dev)")
	f.StringVar(&s.tenants, "tenants", "acme,globex", "`LIST` of tenants by id, or how many to make")
	f.StringSliceVar(&s.sources, "sources", nil, "`LIST` of sources (default: all that have an endpoint)")
	f.IntVar(&s.count, "count", 100, "send `N` distinct webhooks")
	f.IntVar(&s.concurrency, "concurrency", 16, "requests under way at a time")
	f.Float64Var(&s.rate, "rate", 0, "requests a second; 0 for as fast as it goes")
	f.Float64Var(&s.duplicates, "duplicates", 0, "`SHARE` of webhooks that are sent twice, 0 to 1")
	f.Uint64Var(&s.seed, "seed", 0, "`NUMBER` that decides the traffic (default: another one each time)")
	return cmd
}

func (c *cli) simulate(ctx context.Context, s *simulateFlags) error {
	if s.concurrency < 1 || s.rate < 0 {
		return usagef("want --concurrency of at least 1 and --rate of at least 0")
	}
	cfg, err := c.config(nil)
	if err != nil {
		return err
	}
	t, err := c.target(ctx, cfg, s.url)
	if err != nil {
		return err
	}
	o := simulate.Options{
		Seed: s.seed, Count: s.count, Duplicates: s.duplicates,
		Interval: time.Millisecond, Start: time.Now().UTC().Truncate(24 * time.Hour),
	}
	if s.seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Endpoints, err = chosen(t.endpoints, s.sources); err != nil {
		return err
	}
	if o.Tenants, err = c.simulated(ctx, cfg, s); err != nil {
		return err
	}
	g, err := simulate.New(o)
	if err != nil {
		return usagef("%w", err)
	}
	bar := newProgress(c.stderr, "sent", s.count)
	report, err := simulate.Run(ctx, g, simulate.RunOptions{
		Base: t.base, Rate: s.rate, Concurrency: s.concurrency, Progress: bar.at,
	})
	bar.end()
	if report == nil {
		return err
	}
	return errors.Join(c.showReport(o.Seed, report), err, refused(report))
}

// refused is an error when any webhook was not accepted.
func refused(r *simulate.Report) error {
	n := 0
	for status, count := range r.ByStatus {
		if status/100 != 2 {
			n += count
		}
	}
	if n == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d webhooks were not accepted", n, r.Sent)
	if r.FirstError != "" {
		err = fmt.Errorf("%w; the first without answer: %s", err, r.FirstError)
	}
	return err
}

// chosen are the endpoints of the chosen sources; all that can be simulated where none is.
func chosen(list []devlink.Endpoint, sources []string) ([]simulate.Endpoint, error) {
	for _, s := range sources {
		if !slices.ContainsFunc(list, func(e devlink.Endpoint) bool { return e.Source == s }) {
			return nil, usagef("--sources: no endpoint of %q; sources that can be simulated: %s",
				s, strings.Join(simulate.Sources(), ", "))
		}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(e devlink.Endpoint) bool {
		return !slices.Contains(simulate.Sources(), e.Source) || len(sources) > 0 && !slices.Contains(sources, e.Source)
	})
	return app.SimulatedEndpoints(list)
}

// maxSimulated bounds the tenants that are made: each is a record with a route.
const maxSimulated = 10_000

// simulated are the tenants of the traffic.
func (c *cli) simulated(ctx context.Context, cfg *config.Config, s *simulateFlags) ([]simulate.Tenant, error) {
	n, err := strconv.Atoi(s.tenants)
	if err != nil {
		var out []simulate.Tenant
		for _, id := range strings.Split(s.tenants, ",") {
			id := visitor.TenantID(strings.TrimSpace(id))
			out = append(out, simulate.Tenant{ID: id, Host: sampleHost("", id)})
		}
		return out, nil
	}
	switch {
	case n < 1 || n > maxSimulated:
		return nil, usagef("--tenants: want ids, or a number of 1 to %d", maxSimulated)
	case s.url != "":
		return nil, usagef("--tenants: a number makes tenants in a running `usher dev` only; with --url name existing ones")
	}
	op, err := app.OpenOperator(ctx, cfg, c.getenv(devAddrEnv))
	if err != nil {
		return nil, err
	}
	out := simulate.Tenants(n)
	return out, errors.Join(makeTenants(ctx, op.Tenants, out), op.Close())
}

func makeTenants(ctx context.Context, d *directory.Directory, list []simulate.Tenant) error {
	for _, t := range list {
		_, err := d.Create(ctx, &tenant.Tenant{ID: t.ID, Name: "Simulated"})
		if err != nil && !errors.Is(err, directory.ErrExists) {
			return tenantError(t.ID, err)
		}
	}
	return nil
}

func (c *cli) showReport(seed uint64, r *simulate.Report) error {
	out := struct {
		Seed uint64 `json:"seed"`
		*simulate.Report
	}{seed, r}
	return c.show(out, func(t *table) {
		t.row("sent", r.Sent)
		t.row("  of them duplicates", r.Duplicates)
		t.row("  retries", r.Retries)
		for _, status := range slices.Sorted(maps.Keys(r.ByStatus)) {
			t.row(fmt.Sprintf("  answered %d", status), r.ByStatus[status])
		}
		t.row("seconds", fmt.Sprintf("%.1f", r.Seconds))
		t.row("latency", fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", r.P50Millis, r.P99Millis))
		t.row("seed", seed)
		t.row("events expected by source")
		for _, s := range slices.Sorted(maps.Keys(r.BySource)) {
			t.row("  "+s, r.BySource[s])
		}
		t.row("events expected by tenant")
		for _, id := range slices.Sorted(maps.Keys(r.ByTenant)) {
			t.row("  "+string(id), r.ByTenant[id])
		}
	})
}

// progress tells how far a run has got: on a terminal in place, elsewhere a line for every tenth.
type progress struct {
	w           io.Writer
	done        string // what is counted
	total, last int    // total is 0 when nobody knows
	terminal    bool
}

func newProgress(w io.Writer, done string, total int) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, done: done, total: total, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) at(n int) {
	step := max(1, p.total/10)
	switch {
	case p.total == 0:
		step = 1000
	case p.terminal:
		step = max(1, p.total/100)
	}
	if n/step == p.last/step {
		return
	}
	p.last = n
	switch {
	case !p.terminal:
		fmt.Fprintf(p.w, "%d %s\n", n, p.done)
	case p.total == 0:
		fmt.Fprintf(p.w, "\r%d %s", n, p.done)
	default:
		fmt.Fprintf(p.w, "\r%d %s (%d%%)", n, p.done, min(100, 100*n/p.total))
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprintln(p.w)
	}
}
