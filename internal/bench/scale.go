package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"
)

// scale measures whether an event costs more where there are more tenants, or more stored events.
type scale struct {
	events  int
	tenants int
	stored  int
	rounds  int
}

// What the larger of each is compared with.
const (
	fewTenants = 10
	fewStored  = 10_000
)

func newScale() measurement { return &scale{} }

func (s *scale) flags(f *flag.FlagSet) {
	f.IntVar(&s.events, "events", 20_000, "distinct events of each measurement")
	f.IntVar(&s.tenants, "tenants", 10_000, "tenants, compared with 10; 0 leaves this comparison out")
	f.IntVar(&s.stored, "stored", 1_000_000, "stored events, compared with 10,000; takes about 3 KB each; 0 leaves it out")
	f.IntVar(&s.rounds, "rounds", 3, "measurements of each; the medians are printed")
}

func (s *scale) validate() error {
	if s.events < 1 || s.tenants < 0 || s.stored < 0 || s.tenants+s.stored == 0 {
		return errors.New("events: want at least 1; tenants and stored: not below 0, and one of them above")
	}
	if s.rounds < 1 {
		return errRounds
	}
	return nil
}

// scaleRun is what one process measured, one phase after the other.
type scaleRun struct {
	Tenants int        `json:"tenants"`
	Stored  int        `json:"stored"`
	Phases  []twinsRun `json:"phases"`
}

func (s *scale) measure(ctx context.Context, w io.Writer) (*report, error) {
	r := &report{Setting: fmt.Sprintf("memory twins, %d events of %d visitors a tenant, Commits of 10 ms, one core; medians of %d",
		s.events, visitorsEach, s.rounds)}
	t := table{columns: []string{"tenants", "stored before", "CPU-µs an event", "events a Commit", "counter writes an event"}}
	var runs []scaleRun
	compare := func(what string, required float64, few, many scaleRun) error {
		var micros []float64
		for _, run := range []scaleRun{few, many} {
			if err := s.one(ctx, &run); err != nil {
				return err
			}
			runs = append(runs, run)
			micros = append(micros, medianOf(run.Phases, twinsRun.micros))
			t.add(strconv.Itoa(run.Tenants), strconv.Itoa(run.Stored), figure(micros[len(micros)-1]),
				figure(medianOf(run.Phases, twinsRun.batch)), figure(medianOf(run.Phases, twinsRun.counters)))
			fmt.Fprintf(w, "scale: %d tenants, %d stored events: %.0f CPU-µs an event\n", run.Tenants, run.Stored, micros[len(micros)-1])
		}
		r.Targets = append(r.Targets, atMost(what, micros[1]/micros[0], required, 0))
		return nil
	}
	if s.tenants > 0 {
		if err := compare(fmt.Sprintf("CPU at %d tenants, of that at %d", s.tenants, fewTenants), 1.6,
			scaleRun{Tenants: fewTenants}, scaleRun{Tenants: s.tenants}); err != nil {
			return nil, err
		}
	}
	if s.stored > 0 {
		if err := compare(fmt.Sprintf("CPU at %d stored events, of that at %d, without garbage collection", s.stored, fewStored), 1.2,
			scaleRun{Tenants: 50, Stored: fewStored}, scaleRun{Tenants: 50, Stored: s.stored}); err != nil {
			return nil, err
		}
	}
	r.Tables, r.Runs = []table{t}, runs
	r.Notes = []string{"With stored events garbage is collected between the measurements only: the twin's heap holds them all, and the more " +
		"there are, the seldomer it is collected."}
	return r, nil
}

// one measures in a process of its own. The tenants' cache is warm: it is what a daemon has after a while.
func (s *scale) one(ctx context.Context, run *scaleRun) error {
	t := twinsTask{
		Traffic: traffic{Events: s.events, Tenants: run.Tenants, Visitors: visitorsEach},
		Warm:    s.events, Stored: run.Stored, Commit: 10 * time.Millisecond, Phases: s.rounds, NoGC: run.Stored > 0,
	}
	return spawn(ctx, task{Role: "twins", Twins: t}, &run.Phases)
}
