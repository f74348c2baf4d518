package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/usage"
)

// drain has usher and reference consumers drain the same backlog.
type drain struct {
	traffic traffic
	rounds  int
	only    string
	profile string
	all     bool
}

func newDrain() measurement { return &drain{} }

func (d *drain) flags(f *flag.FlagSet) {
	f.IntVar(&d.traffic.Events, "events", 10_000, "distinct events")
	f.IntVar(&d.traffic.Tenants, "tenants", 50, "tenants, Zipf distributed")
	f.Float64Var(&d.traffic.Duplicates, "duplicates", 0.05, "share of events published twice")
	f.IntVar(&d.rounds, "rounds", 3, "rounds; the medians are printed")
	f.BoolVar(&d.all, "loop1000", false, "also run the loop once at the client's default of 1,000 outstanding messages: slow")
	f.StringVar(&d.only, "only", "", "run only this consumer: floor, loop-20, usher, usher-records, loop-1000")
	f.StringVar(&d.profile, "cpuprofile", "", "write a CPU profile of the consumer to this file (with -only)")
}

func (d *drain) validate() error {
	if err := d.traffic.validate(); err != nil {
		return err
	}
	if d.rounds < 1 {
		return errRounds
	}
	if d.profile != "" && d.only == "" {
		return errors.New("cpuprofile: want -only as well")
	}
	if d.only != "" && !slices.ContainsFunc(contenders, func(c contender) bool { return c.name == d.only }) {
		return errors.New("only: no such consumer")
	}
	return nil
}

var errRounds = errors.New("rounds: want at least 1")

// contender is one way to consume the messages.
type contender struct {
	name string
	what string
	slow bool // runs in the first round, and only when asked for
	loop bool // keeps its own counters
	// visitors is the tenants' setting, for usher.
	visitors bool
}

var contenders = []contender{
	{name: "floor", what: "receive and ack, no work"},
	{name: "loop-20", what: "one Create and one Increment a message, 20 outstanding", loop: true},
	{name: "usher", what: "usher, profile processor", visitors: true},
	{name: "usher-records", what: "usher, identifications and usage only"},
	{name: "loop-1000", what: "the same loop at the client's default of 1,000 outstanding", slow: true, loop: true},
}

// drainRun is one consumer's drain of one backlog.
type drainRun struct {
	Contender string `json:"contender"`
	Round     int    `json:"round"`
	Messages  int    `json:"messages"`
	drained
	Emulator float64 `json:"firestore_cpu_seconds"` // of the Firestore emulator
	Counted  int64   `json:"counted"`               // by the usage counters
	Want     int64   `json:"want"`
}

func (r drainRun) rate() float64      { return float64(r.Messages) / r.Seconds }
func (r drainRun) cpu() float64       { return 1000 * r.CPU / float64(r.Messages) } // of 1,000 messages
func (r drainRun) per(n int64) string { return fmt.Sprintf("%.3f", float64(n)/float64(r.Messages)) }

func (d *drain) measure(ctx context.Context, w io.Writer) (*report, error) {
	c, err := d.traffic.corpus(ctx)
	if err != nil {
		return nil, err
	}
	var runs []drainRun
	for round := range d.rounds {
		err := inLab(ctx, func(l *lab) error {
			rs, err := d.round(ctx, w, l, c, round)
			runs = append(runs, rs...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return d.report(runs), nil
}

// round warms fresh emulators up and lets each contender drain the same backlog, beginning with another one each
// round.
func (d *drain) round(ctx context.Context, w io.Writer, l *lab, c *corpus, round int) (out []drainRun, err error) {
	warm := *c
	warm.messages = c.messages[:min(len(c.messages), 2000)]
	for _, k := range contenders[1:3] {
		if _, err := d.one(ctx, l, &warm, k, "warm-", ""); err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
	}
	for i := range contenders {
		k := contenders[(i+round)%len(contenders)]
		if d.only != "" && d.only != k.name || d.only == "" && k.slow && (round > 0 || !d.all) {
			continue
		}
		r, err := d.one(ctx, l, c, k, "bench-", d.profile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		r.Round = round
		fmt.Fprintf(w, "drain: round %d, %-14s %7.0f events/s  %.3f CPU-s per 1,000\n", round+1, k.name, r.rate(), r.cpu())
		out = append(out, r)
	}
	return out, nil
}

// one publishes a backlog in a project of its own and has a child process drain it.
func (d *drain) one(ctx context.Context, l *lab, c *corpus, k contender, project, profile string) (drainRun, error) {
	at := l.site(project + k.name)
	r := drainRun{Contender: k.name, Messages: len(c.messages), Want: int64(c.events)}
	err := inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		if err := settle(ctx, cfg, b, c.tenants, k.visitors); err != nil {
			return err
		}
		if err := publishAll(ctx, b.Queue.Publisher(cfg.PubSub.Topic), c.messages); err != nil {
			return err
		}
		before, err := l.firestore.CPUTime()
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if err := spawn(ctx, task{Role: k.name, Site: at, Messages: len(c.messages), Profile: profile}, &r.drained); err != nil {
			return err
		}
		after, err := l.firestore.CPUTime()
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		r.Emulator = (after - before).Seconds()
		r.Counted, err = counted(ctx, cfg, b, c, k.loop)
		return err
	})
	return r, err
}

// counted sums the usage counters that a contender wrote.
func counted(ctx context.Context, cfg *config.Config, b *app.Backend, c *corpus, loop bool) (int64, error) {
	var sum int64
	month := time.Now().UTC().Format("2006-01")
	for _, id := range c.tenants {
		if loop {
			n, err := loopCounter(ctx, b.Store, id)
			if err != nil {
				return 0, err
			}
			sum += n
			continue
		}
		m, err := usage.Read(ctx, b.Store, id, month, cfg.Consumer.UsageShards)
		if err != nil {
			return 0, err
		}
		sum += m.Events
	}
	return sum, nil
}

func (d *drain) report(runs []drainRun) *report {
	r := &report{
		Runs: runs,
		Setting: fmt.Sprintf("%d events over %d tenants (Zipf), %.0f %% published twice; medians of %d rounds, each on fresh, warmed emulators",
			d.traffic.Events, d.traffic.Tenants, 100*d.traffic.Duplicates, d.rounds),
	}
	t := table{columns: []string{
		"consumer", "events/s", "CPU-s", "of loop-20", "above the floor", "speed", "emulator CPU-s", "commits", "writes", "reads", "counted",
	}}
	floors := medianOf(of(runs, "floor"), drainRun.cpu)
	for _, c := range contenders {
		mine := of(runs, c.name)
		if len(mine) == 0 {
			continue
		}
		above := "-"
		if floors > 0 && c.name != "floor" {
			above = figure(medianOf(mine, drainRun.cpu)/floors) + " x"
		}
		t.add(c.name+": "+c.what, figure(medianOf(mine, drainRun.rate)), fmt.Sprintf("%.3f", medianOf(mine, drainRun.cpu)),
			orDash(relative(runs, mine, drainRun.cpu)), above, orDash(relative(runs, mine, drainRun.rate)),
			figure(medianOf(mine, func(r drainRun) float64 { return 1000 * r.Emulator / float64(r.Messages) })),
			mine[0].per(mine[0].Commits), mine[0].per(mine[0].Writes), mine[0].per(mine[0].Reads),
			strconv.FormatInt(mine[0].Counted, 10)+" of "+strconv.FormatInt(mine[0].Want, 10))
	}
	r.Tables = []table{t}
	r.Notes = []string{"CPU-s are user and system time for 1,000 messages; commits, writes and reads are per message."}
	r.Targets = drainTargets(runs)
	return r
}

func drainTargets(runs []drainRun) (out []target) {
	for _, want := range []struct {
		name             string
		cpu, cpuAim      float64
		faster, speedAim float64
	}{
		{"usher", 0.55, 0.4, 1.6, 2},
		{"usher-records", 0.35, 0.3, 2.5, 3},
	} {
		mine := of(runs, want.name)
		if cpu := relative(runs, mine, drainRun.cpu); cpu > 0 {
			out = append(out,
				atMost(want.name+": CPU, of loop-20's", cpu, want.cpu, want.cpuAim),
				atLeast(want.name+": speed, times loop-20's", relative(runs, mine, drainRun.rate), want.faster, want.speedAim))
		}
	}
	return out
}

func of(runs []drainRun, name string) []drainRun {
	return slices.DeleteFunc(slices.Clone(runs), func(r drainRun) bool { return r.Contender != name })
}

// relative is the median over the rounds of a figure divided by loop-20's of the same round, 0 where there is none.
func relative(runs, mine []drainRun, f func(drainRun) float64) float64 {
	base := map[int]float64{}
	for _, r := range of(runs, "loop-20") {
		base[r.Round] = f(r)
	}
	var v []float64
	for _, r := range mine {
		if b := base[r.Round]; b > 0 {
			v = append(v, f(r)/b)
		}
	}
	return median(v)
}

func orDash(v float64) string {
	if v == 0 {
		return "-"
	}
	return figure(v)
}
