package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/queue"
)

// twins measures what our own code costs: a daemon on the memory twins, with nothing of Google's beneath it.
type twins struct {
	task    twinsTask
	rounds  int
	profile string
}

func newTwins() measurement { return &twins{} }

func (t *twins) flags(f *flag.FlagSet) {
	t.task.flags(f, 30_000)
	f.IntVar(&t.rounds, "rounds", 3, "processes that measure; the medians are printed")
	f.StringVar(&t.profile, "cpuprofile", "", "keep the CPU profile of the first process in this file")
}

func (t *twins) validate() error {
	if t.rounds < 1 {
		return errRounds
	}
	return t.task.validate()
}

// twinsTask is what a child measures on the twins.
type twinsTask struct {
	Traffic traffic       `json:"traffic"`
	Warm    int           `json:"warm"`   // messages handled before it is measured
	Stored  int           `json:"stored"` // further events stored before
	Commit  time.Duration `json:"commit"` // what a Commit takes, so that batches fill
	Phases  int           `json:"phases"` // measurements, one after the other
	// NoGC collects garbage between the measurements only. The twin's heap holds all that is stored, so that more of it
	// is more to mark, and seldomer; in production it is elsewhere.
	NoGC bool `json:"no_gc"`
}

func (t *twinsTask) flags(f *flag.FlagSet, events int) {
	t.Phases = 1
	f.IntVar(&t.Traffic.Events, "events", events, "distinct events of each measurement")
	f.IntVar(&t.Traffic.Tenants, "tenants", 50, "tenants, Zipf distributed")
	f.Float64Var(&t.Traffic.Duplicates, "duplicates", 0.05, "share of events published twice")
	f.IntVar(&t.Warm, "warm", 3000, "messages handled before the measurement")
	f.DurationVar(&t.Commit, "commit", 10*time.Millisecond, "what a Commit takes")
}

func (t *twinsTask) validate() error {
	if t.Warm < 0 || t.Stored < 0 || t.Commit < 0 || t.Phases < 1 {
		return errors.New("warm, stored and commit: not below 0")
	}
	return t.Traffic.validate()
}

// twinsRun is one measurement of a child.
type twinsRun struct {
	Messages int     `json:"messages"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_seconds"`
	Ops      ops     `json:"ops"`
}

func (r twinsRun) micros() float64  { return 1e6 * r.CPU / float64(r.Messages) }
func (r twinsRun) perCore() float64 { return float64(r.Messages) / r.CPU }
func (r twinsRun) batch() float64   { return float64(r.Messages) / float64(r.Ops.Commits) }
func (r twinsRun) counters() float64 {
	return float64(r.Ops.Counters) / float64(r.Messages)
}

// twinsRole warms a daemon up and measures it.
func twinsRole(ctx context.Context, t task) (any, error) {
	if cpuTime() == 0 {
		return nil, errors.New("CPU time cannot be read on this system")
	}
	n := &t.Twins
	total := n.Traffic
	total.Events = n.Traffic.Events*n.Phases + n.Warm
	all, err := total.corpus(ctx)
	if err != nil {
		return nil, err
	}
	var runs []twinsRun
	t.Site.Project, t.Site.Commit = "bench-twins", n.Commit
	err = inSite(ctx, t.Site, func(cfg *config.Config, b *app.Backend) error {
		if err := settle(ctx, cfg, b, all.tenants, true); err != nil {
			return err
		}
		if err := preload(ctx, b.Store, all.tenants, n.Stored); err != nil {
			return err
		}
		runtime.GOMAXPROCS(1)
		if err := tune(cfg); err != nil {
			return err
		}
		if n.NoGC {
			debug.SetGCPercent(-1) // what is called below still collects
		}
		m := &meter{Store: b.Store}
		b.Store = m
		d, err := startDaemon(ctx, cfg, b)
		if err != nil {
			return err
		}
		phase := twinsPhase{d, m, b.Queue.Publisher(cfg.PubSub.Topic)}
		runs, err = phase.all(ctx, t, all.messages)
		return errors.Join(err, d.stop())
	})
	return runs, err
}

// twinsPhase has a daemon drain messages and measures that.
type twinsPhase struct {
	daemon *running
	meter  *meter
	topic  queue.Publisher
}

// all warms up with the first messages and then measures the others, in equal parts.
func (p *twinsPhase) all(ctx context.Context, t task, messages []message) (runs []twinsRun, err error) {
	n := t.Twins.Phases
	if _, err := p.measure(ctx, messages[:t.Twins.Warm]); err != nil {
		return nil, err
	}
	messages = messages[t.Twins.Warm:]
	err = withProfile(t.Profile, func() error {
		for i := range n {
			r, err := p.measure(ctx, messages[i*len(messages)/n:(i+1)*len(messages)/n])
			if err != nil {
				return err
			}
			runs = append(runs, r)
		}
		return nil
	})
	return runs, err
}

func (p *twinsPhase) measure(ctx context.Context, messages []message) (twinsRun, error) {
	runtime.GC()
	start, cpu, before, handled := time.Now(), cpuTime(), p.meter.ops(), p.daemon.handled()
	err := publishAll(ctx, p.topic, messages)
	err = errors.Join(err, p.daemon.wait(ctx, handled+int64(len(messages))))
	return twinsRun{len(messages), time.Since(start).Seconds(), (cpuTime() - cpu).Seconds(), p.meter.ops().minus(before)}, err
}

func (t *twins) measure(ctx context.Context, w io.Writer) (*report, error) {
	var runs []twinsRun
	var p *profile
	err := inTempDir(func(dir string) (err error) {
		file := cmp.Or(t.profile, filepath.Join(dir, "cpu.out"))
		for round := range t.rounds {
			var r []twinsRun
			job := task{Role: "twins", Twins: t.task}
			if round == 0 {
				job.Profile = file
			}
			if err := spawn(ctx, job, &r); err != nil {
				return err
			}
			runs = append(runs, r...)
			fmt.Fprintf(w, "twins: round %d, %.0f events/s and core\n", round+1, r[0].perCore())
		}
		p, err = readProfile(ctx, file)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.report(runs, p), nil
}

// inTempDir calls do with a directory that is removed afterwards.
func inTempDir(do func(dir string) error) error {
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return err
	}
	return errors.Join(do(dir), os.RemoveAll(dir))
}

func (t *twins) report(runs []twinsRun, p *profile) *report {
	r := &report{
		Runs: runs,
		Setting: fmt.Sprintf("%d events over %d tenants (Zipf), %.0f %% published twice, one core, Commits of %v; medians of %d processes",
			t.task.Traffic.Events, t.task.Traffic.Tenants, 100*t.task.Traffic.Duplicates, t.task.Commit, t.rounds),
	}
	speed := table{columns: []string{
		"events/s and core", "without the twins", "CPU-µs an event", "without the twins", "events a Commit", "counter writes an event",
	}}
	own, perCore, micros := 1-p.twins/100, medianOf(runs, twinsRun.perCore), medianOf(runs, twinsRun.micros)
	speed.add(figure(perCore), figure(perCore/own), figure(micros), figure(micros*own),
		figure(medianOf(runs, twinsRun.batch)), figure(medianOf(runs, twinsRun.counters)))
	top := table{columns: []string{"our function", "with the libraries it calls", "with all it calls"}}
	for _, f := range p.functions {
		if f.own >= 2 {
			top.add("`"+f.name+"`", percent(f.own), percent(f.all))
		}
	}
	r.Tables = []table{speed, top}
	if len(p.functions) > 0 {
		f := p.functions[0]
		r.Targets = []target{atMost("one function of ours with the libraries it calls, % of CPU: "+f.name, f.own, 10, 0)}
	}
	r.Notes = []string{
		"Of the CPU time " + percent(p.twins) + " is in the twins themselves, " + percent(p.outside) +
			" in the runtime with nothing of ours on the stack; " + percent(p.gc) +
			" in all is garbage collection. Listed are functions from 2 %; time in further functions of ours is theirs.",
	}
	return r
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) + " %" }
