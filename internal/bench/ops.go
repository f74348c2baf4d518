package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

// operations counts what usher asks of Firestore for each event.
type operations struct {
	traffic    traffic
	duplicates float64
	memory     bool
}

func newOps() measurement { return &operations{} }

func (o *operations) flags(f *flag.FlagSet) {
	f.IntVar(&o.traffic.Events, "events", 5000, "distinct events of each case")
	f.IntVar(&o.traffic.Tenants, "tenants", 50, "tenants, Zipf distributed")
	f.Float64Var(&o.duplicates, "duplicates", 0.05, "share of events that come twice, in the cases with duplicates")
	f.BoolVar(&o.memory, "memory", false, "count on the memory twins, with Commits of 10 ms, instead of the emulators")
}

func (o *operations) validate() error {
	t := o.traffic
	t.Duplicates = o.duplicates
	return t.validate()
}

func (o *operations) inMemory() bool { return o.memory }

// opsRun is one case.
type opsRun struct {
	Duplicates float64 `json:"duplicates"`
	Where      string  `json:"where"`
	Events     int     `json:"events"` // new ones
	Repeats    int     `json:"repeats"`
	Ops        ops     `json:"ops"`
}

func (r *opsRun) name() string {
	if r.Where == "" {
		return "none"
	}
	return fmt.Sprintf("%.0f %% %s", 100*r.Duplicates, r.Where)
}

func (r *opsRun) per(n int64) float64 { return float64(n) / float64(r.Events) }

const otherProcess = "of another process"

func (o *operations) measure(ctx context.Context, w io.Writer) (*report, error) {
	cases := []opsRun{
		{},
		{Duplicates: o.duplicates, Where: "of the same process"},
		{Duplicates: o.duplicates, Where: otherProcess},
	}
	each := func(at func(project string) site) error {
		for i := range cases {
			if err := o.count(ctx, at(fmt.Sprintf("bench-ops-%d", i)), &cases[i]); err != nil {
				return err
			}
			fmt.Fprintf(w, "ops: duplicates: %s: counted\n", cases[i].name())
		}
		return nil
	}
	var err error
	if o.memory {
		err = each(func(project string) site { return site{Project: project, Commit: 10 * time.Millisecond} })
	} else {
		err = inLab(ctx, func(l *lab) error { return each(l.site) })
	}
	if err != nil {
		return nil, err
	}
	return o.report(cases), nil
}

// count drains the messages of one case with one daemon. What another process has stored is drained by a daemon of
// its own before.
func (o *operations) count(ctx context.Context, at site, c *opsRun) error {
	t := o.traffic
	t.Duplicates, t.Visitors = c.Duplicates, visitorsEach
	all, err := t.corpus(ctx)
	if err != nil {
		return err
	}
	before, measured := []message(nil), all.messages
	if c.Where == otherProcess {
		before, measured = apart(all.messages)
	}
	return inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		m := &meter{Store: b.Store}
		b.Store = m
		if err := settle(ctx, cfg, b, all.tenants, true); err != nil {
			return err
		}
		if len(before) > 0 {
			if err := drainHere(ctx, cfg, b, before); err != nil {
				return err
			}
		}
		start := m.ops()
		if err := drainHere(ctx, cfg, b, measured); err != nil {
			return err
		}
		c.Ops = m.ops().minus(start)
		c.Events = all.events - len(before)
		c.Repeats = len(measured) - c.Events
		return nil
	})
}

// drainHere publishes messages and has a daemon in this process drain them.
func drainHere(ctx context.Context, cfg *config.Config, b *app.Backend, messages []message) error {
	if err := publishAll(ctx, b.Queue.Publisher(cfg.PubSub.Topic), messages); err != nil {
		return err
	}
	r, err := startDaemon(ctx, cfg, b)
	if err != nil {
		return err
	}
	return errors.Join(r.wait(ctx, int64(len(messages))), r.stop())
}

// apart takes the first messages of the events that have two out.
func apart(all []message) (first, rest []message) {
	twice := map[int]bool{}
	for _, m := range all {
		if m.duplicate {
			twice[m.number] = true
		}
	}
	for _, m := range all {
		if twice[m.number] && !m.duplicate {
			first = append(first, m)
		} else {
			rest = append(rest, m)
		}
	}
	return first, rest
}

func (o *operations) report(cases []opsRun) *report {
	where := "the emulators"
	if o.memory {
		where = "the memory twins with Commits of 10 ms"
	}
	r := &report{
		Runs: cases,
		Setting: fmt.Sprintf("%d events over %d tenants (Zipf) of %d visitors each, drained from a backlog on %s; all figures are per new event",
			o.traffic.Events, o.traffic.Tenants, visitorsEach, where),
		Notes: []string{"Duplicates of another process were stored by another daemon before, so nothing but the store knows them. " +
			"Reads of tenant records, one for each tenant in a while, are not in the table."},
	}
	t := table{columns: []string{"duplicates", "Commits", "refused", "writes", "records", "profiles", "counters", "reads"}}
	for i := range cases {
		c := &cases[i]
		t.add(c.name(), figure(c.per(c.Ops.Commits)), figure(c.per(c.Ops.Refused)),
			figure(c.per(c.Ops.Records+c.Ops.Profiles+c.Ops.Counters)), figure(c.per(c.Ops.Records)),
			figure(c.per(c.Ops.Profiles)), figure(c.per(c.Ops.Counters)), figure(c.per(c.Ops.Reads)))
	}
	r.Tables = []table{t}
	for i := range cases[:2] {
		c := &cases[i]
		at := fmt.Sprintf(" at %.0f %% duplicates", 100*c.Duplicates)
		r.Targets = append(r.Targets,
			atMost("writes without counters"+at, c.per(c.Ops.Records+c.Ops.Profiles), 2, 0),
			atMost("reads"+at, c.per(c.Ops.Reads), 1, 0),
			atMost("counter writes"+at, c.per(c.Ops.Counters), counterWrites, 0))
	}
	return r
}

// visitorsEach is how many people a tenant has: so many that batches seldom have several events of one, which would
// share a profile write.
const visitorsEach = 5000

// counterWrites is what 50 tenants by Zipf's law in batches of 100 make of one write for each tenant and Commit, with
// some room for batches that are not full.
const counterWrites = 0.4
