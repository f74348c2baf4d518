package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

// flood measures what one tenant's flood does to the latency of the others, on the memory twins.
type flood struct {
	rate    float64
	seconds float64
	share   float64
	rounds  int
	commit  time.Duration
	backlog int
}

func newFlood() measurement { return &flood{} }

func (f *flood) flags(fs *flag.FlagSet) {
	fs.Float64Var(&f.rate, "rate", 200, "events a second of the quiet tenants together")
	fs.Float64Var(&f.seconds, "seconds", 4, "how long each round takes, once without and once with the flood")
	fs.Float64Var(&f.share, "share", 0.5, "the flood's rate, as a share of the measured capacity")
	fs.IntVar(&f.rounds, "rounds", 3, "rounds; the medians are printed")
	fs.IntVar(&f.backlog, "backlog", 20_000, "events drained to measure the capacity")
	fs.DurationVar(&f.commit, "commit", 10*time.Millisecond, "what a Commit takes")
}

func (f *flood) validate() error {
	if f.share <= 0 || f.share > 2 || f.commit < 0 || f.backlog < 1 {
		return errors.New("share: want above 0 and at most 2; commit: not below 0; backlog: at least 1")
	}
	return validRate(f.rate, f.seconds, f.rounds)
}

// floodRun is one round.
type floodRun struct {
	Capacity float64 `json:"capacity"` // events/s
	Without  spread  `json:"without"`
	With     spread  `json:"with"`
}

func (f *flood) measure(ctx context.Context, w io.Writer) (*report, error) {
	capacity, err := f.capacity(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "flood: capacity %.0f events/s\n", capacity)
	quiet, err := traffic{Seed: 2, Events: int(f.rate * f.seconds), Tenants: 50}.corpus(ctx)
	if err != nil {
		return nil, err
	}
	loud, err := traffic{Seed: 3, Events: max(1, int(f.share*capacity*f.seconds)), Tenants: 1, Prefix: "loud-"}.corpus(ctx)
	if err != nil {
		return nil, err
	}
	var runs []floodRun
	for round := range f.rounds {
		run := floodRun{Capacity: capacity}
		var err error
		if run.Without, err = f.one(ctx, quiet, nil, 0); err != nil {
			return nil, err
		}
		if run.With, err = f.one(ctx, quiet, loud, f.share*capacity); err != nil {
			return nil, err
		}
		runs = append(runs, run)
		fmt.Fprintf(w, "flood: round %d, quiet tenants' p99 %.1f ms without and %.1f ms with the flood\n",
			round+1, run.Without.P99, run.With.P99)
	}
	return f.report(runs), nil
}

// capacity is how many events a second a daemon drains from a backlog of them, all of one tenant.
func (f *flood) capacity(ctx context.Context) (rate float64, err error) {
	c, err := traffic{Events: f.backlog, Tenants: 1, Prefix: "loud-"}.corpus(ctx)
	if err != nil {
		return 0, err
	}
	at := site{Project: "bench-flood", Commit: f.commit}
	err = inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		if err := settle(ctx, cfg, b, c.tenants, true); err != nil {
			return err
		}
		if err := tune(cfg); err != nil {
			return err
		}
		start := time.Now()
		err := drainHere(ctx, cfg, b, c.messages)
		rate = float64(len(c.messages)) / time.Since(start).Seconds()
		return err
	})
	return rate, err
}

// one has a fresh daemon serve the quiet tenants, beside the flood if there is one.
func (f *flood) one(ctx context.Context, quiet, loud *corpus, rate float64) (s spread, err error) {
	watch, deaf := newStopwatch(), newStopwatch()
	all := *quiet
	if loud != nil {
		all.tenants = append(all.tenants[:len(all.tenants):len(all.tenants)], loud.tenants...)
	}
	at := site{Project: "bench-flood", Commit: f.commit}
	err = inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		if err := tune(cfg); err != nil {
			return err
		}
		b.Store = &meter{Store: b.Store, stored: watch.stop}
		if err := settle(ctx, cfg, b, all.tenants, true); err != nil {
			return err
		}
		d, err := startDaemon(ctx, cfg, b)
		if err != nil {
			return err
		}
		n, topic := len(quiet.messages), b.Queue.Publisher(cfg.PubSub.Topic)
		grp, gctx := errgroup.WithContext(ctx)
		grp.Go(func() error { return pace(gctx, topic, quiet.messages, f.rate, watch) })
		if loud != nil {
			n += len(loud.messages)
			grp.Go(func() error { return pace(gctx, topic, loud.messages, rate, deaf) })
		}
		err = grp.Wait()
		if err == nil {
			err = watch.wait(ctx, d, n)
		}
		return errors.Join(err, d.stop())
	})
	if err != nil {
		return spread{}, err
	}
	return watch.spread(quiet.messages[len(quiet.messages)/4:]), nil
}

func (f *flood) report(runs []floodRun) *report {
	r := &report{Runs: runs, Setting: fmt.Sprintf(
		"memory twins with Commits of %v; %.0f events/s of 50 quiet tenants, and a flood of one tenant at %.0f %% of the measured "+
			"capacity of %.0f events/s; medians of %d rounds of %.0f s", f.commit, f.rate, 100*f.share, runs[0].Capacity, f.rounds, f.seconds)}
	t := table{columns: []string{"quiet tenants", "events", "p50 ms", "p99 ms"}}
	without := func(r floodRun) spread { return r.Without }
	with := func(r floodRun) spread { return r.With }
	for _, row := range []struct {
		name string
		of   func(floodRun) spread
	}{{"alone", without}, {"beside the flood", with}} {
		t.add(row.name, figure(float64(row.of(runs[0]).Events)),
			figure(medianOf(runs, func(r floodRun) float64 { return row.of(r).P50 })),
			figure(medianOf(runs, func(r floodRun) float64 { return row.of(r).P99 })))
	}
	r.Tables = []table{t}
	r.Targets = []target{atMost("quiet tenants' p99 beside the flood, of that without",
		medianOf(runs, func(r floodRun) float64 { return r.With.P99 / r.Without.P99 }), 2, 0)}
	return r
}
