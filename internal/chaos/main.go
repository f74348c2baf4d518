// Command chaos is the fault suite: it runs usher's daemon as real processes on Google's emulators, and in process on
// the memory twins, lets go wrong what can, and then audits the books.
//
// A scenario survives when nothing is lost, nothing is stored or counted twice, every counter and first match is
// exact, and the dead letters are exactly the poison. Anything else, and anything unfinished, fails the run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/usherhq/usher/internal/emulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	only     []string
	short    bool
	seed     uint64
	json     bool
	usher    string
	events   int
	parallel int
	logs     string
}

const examples = `
Examples:
  go run ./internal/chaos                              every scenario in full; about half an hour
  go run ./internal/chaos -short                       all of them with less of everything, as CI does
  go run ./internal/chaos -only kill,rolling           some of them
  go run ./internal/chaos -only twins -events 100000   the memory twins alone; needs no emulators
  go run ./internal/chaos -seed 7 -logs out            other faults; keep the daemons' logs in out/

Scenarios:
`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&only, "only", "", "run only these scenarios, separated by commas")
	f.BoolVar(&o.short, "short", false, "fewer events and shorter outages")
	f.Uint64Var(&o.seed, "seed", 1, "seed of traffic and faults")
	f.BoolVar(&o.json, "json", false, "print JSON, one object a scenario, instead of a table")
	f.StringVar(&o.usher, "usher", "", "the daemon's binary; built when empty")
	f.IntVar(&o.events, "events", 0, "events of the scenario twins (default 1,000,000; 20,000 with -short)")
	f.IntVar(&o.parallel, "parallel", 0, "scenarios at a time (default 2; 3 with -short: most of it is waiting)")
	f.StringVar(&o.logs, "logs", "", "keep the daemons' logs in this directory")
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: chaos [flags]")
		f.PrintDefaults()
		fmt.Fprint(stderr, examples)
		for i := range scenarios {
			fmt.Fprintf(stderr, "  %-9s %s\n", scenarios[i].name, scenarios[i].what)
		}
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.events < 0 || o.parallel < 0 {
		return o, errors.New("want flags only, none of them negative; -help lists them")
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	if o.parallel == 0 {
		o.parallel = pick(o.short, 3, 2)
	}
	if o.events == 0 {
		o.events = pick(o.short, 20_000, 1_000_000)
	}
	return o, nil
}

// pick is the one of two sizes that the form of the suite wants.
func pick[T any](short bool, little, full T) T {
	if short {
		return little
	}
	return full
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	s := &suite{o: o, stderr: stderr}
	if missing := s.withoutEmulators(ctx, &chosen); missing != nil {
		fmt.Fprintln(stderr, "chaos: only the memory twins, because", missing)
	}
	if len(chosen) == 0 {
		return errors.New("no scenario can run without Google's emulators (gcloud CLI)")
	}
	rows, err := s.run(ctx, chosen)
	if o.json {
		enc := json.NewEncoder(stdout)
		for i := range rows {
			err = errors.Join(err, enc.Encode(rows[i]))
		}
	} else {
		err = errors.Join(err, printTable(stdout, rows))
	}
	return errors.Join(err, failed(rows, len(chosen)))
}

// withoutEmulators leaves out what needs emulators where there are none, unless they are required as in CI.
func (s *suite) withoutEmulators(ctx context.Context, chosen *[]scenario) (missing error) {
	for _, k := range []emulator.Kind{emulator.PubSub, emulator.Firestore} {
		if _, err := emulator.Find(ctx, k); err != nil {
			missing = err
		}
	}
	if missing == nil || os.Getenv("USHER_REQUIRE_EMULATORS") == "1" {
		return nil
	}
	var left []scenario
	for _, sc := range *chosen {
		if sc.twins {
			left = append(left, sc)
		}
	}
	*chosen = left
	return missing
}

// choose returns the named scenarios, all without names.
func choose(only []string) ([]scenario, error) {
	if len(only) == 0 {
		return scenarios, nil
	}
	var out []scenario
	for _, name := range only {
		i := indexOf(name)
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q; -help lists them", name)
		}
		out = append(out, scenarios[i])
	}
	return out, nil
}

func indexOf(name string) int {
	for i := range scenarios {
		if scenarios[i].name == name {
			return i
		}
	}
	return -1
}

// failed is the suite's verdict.
func failed(rows []row, want int) error {
	var names []string
	for i := range rows {
		if !rows[i].survived() {
			names = append(names, rows[i].Scenario)
		}
	}
	switch {
	case len(names) > 0:
		return fmt.Errorf("failed: %s", strings.Join(names, ", "))
	case len(rows) < want:
		return fmt.Errorf("only %d of %d scenarios were run", len(rows), want)
	}
	return nil
}
