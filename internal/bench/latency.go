package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

// latency measures publish to stored at a steady rate.
type latency struct {
	rate    float64
	seconds float64
	rounds  int
}

func newLatency() measurement { return &latency{} }

func (l *latency) flags(f *flag.FlagSet) {
	f.Float64Var(&l.rate, "rate", 200, "events a second, at random moments")
	f.Float64Var(&l.seconds, "seconds", 12, "how long each round takes; its first quarter is not counted")
	f.IntVar(&l.rounds, "rounds", 3, "rounds after one that warms the emulators up; the medians are printed")
}

func (l *latency) validate() error { return validRate(l.rate, l.seconds, l.rounds) }

func validRate(rate, seconds float64, rounds int) error {
	if rate <= 0 || seconds <= 0 || rate*seconds < 8 {
		return errors.New("rate and seconds: want more than 0, and 8 events in all")
	}
	if rounds < 1 {
		return errRounds
	}
	return nil
}

func (l *latency) measure(ctx context.Context, w io.Writer) (*report, error) {
	c, err := traffic{Events: int(l.rate * l.seconds), Tenants: 50}.corpus(ctx)
	if err != nil {
		return nil, err
	}
	var runs []spread
	err = inLab(ctx, func(lab *lab) error {
		if err := warmUp(ctx, lab.site("warm-latency"), c); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		for round := range 1 + l.rounds {
			s, err := timed(ctx, lab.site("bench-latency-"+strconv.Itoa(round)), l.rate, c)
			if err != nil {
				return err
			}
			note := ""
			if round == 0 {
				note = " (not counted: it warms the emulators up)"
			} else {
				runs = append(runs, s)
			}
			fmt.Fprintf(w, "latency: round %d, p50 %.1f ms, p99 %.1f ms%s\n", round, s.P50, s.P99, note)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := &report{Runs: runs, Setting: fmt.Sprintf(
		"publish to stored at %.0f events/s over 50 tenants (Zipf) on the emulators, medians of %d rounds of %.0f s; "+
			"from the call of Publish to the end of the Commit, publisher and daemon in one process", l.rate, l.rounds, l.seconds)}
	t := table{columns: []string{"events", "p50 ms", "p99 ms", "longest ms"}}
	t.add(strconv.Itoa(runs[0].Events), figure(medianOf(runs, p50)), figure(medianOf(runs, p99)),
		figure(medianOf(runs, func(s spread) float64 { return s.Max })))
	r.Tables = []table{t}
	r.Targets = []target{
		atMost("p50, ms", medianOf(runs, p50), 50, 0),
		atMost("p99, ms", medianOf(runs, p99), 150, 0),
	}
	return r, nil
}

// warmUp drains messages as fast as it goes: a new emulator is slow.
func warmUp(ctx context.Context, at site, c *corpus) error {
	return inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		if err := settle(ctx, cfg, b, c.tenants, true); err != nil {
			return err
		}
		return drainHere(ctx, cfg, b, c.messages)
	})
}

func p50(s spread) float64 { return s.P50 }
func p99(s spread) float64 { return s.P99 }

// timed publishes a corpus at a rate to a daemon in this process. The first quarter, while the daemon begins, is not counted.
func timed(ctx context.Context, at site, rate float64, c *corpus) (s spread, err error) {
	watch := newStopwatch()
	err = inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		if err := tune(cfg); err != nil {
			return err
		}
		b.Store = &meter{Store: b.Store, stored: watch.stop}
		if err := settle(ctx, cfg, b, c.tenants, true); err != nil {
			return err
		}
		d, err := startDaemon(ctx, cfg, b)
		if err != nil {
			return err
		}
		err = pace(ctx, b.Queue.Publisher(cfg.PubSub.Topic), c.messages, rate, watch)
		if err == nil {
			err = watch.wait(ctx, d, len(c.messages))
		}
		return errors.Join(err, d.stop())
	})
	if err != nil {
		return spread{}, err
	}
	return watch.spread(c.messages[len(c.messages)/4:]), nil
}
