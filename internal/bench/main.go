// Command bench measures what usher promises of its speed and cost: each mode prints a table, the targets and
// whether they are met.
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

	"github.com/usherhq/usher/internal/emulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// mode is one measurement.
type mode struct {
	name      string
	what      string
	example   string // flags
	emulators bool   // it needs Google's
	make      func() measurement
}

// measurement is a mode's settings, to be read from flags, and what it does with them.
type measurement interface {
	flags(f *flag.FlagSet)
	// validate reports settings that make no sense.
	validate() error
	// measure reports its progress to w.
	measure(ctx context.Context, w io.Writer) (*report, error)
}

func modes() []mode {
	return []mode{
		{"twins", "events a second and core of our own code, with its CPU profile", "-cpuprofile cpu.out", false, newTwins},
		{"scale", "CPU per event with more tenants and with more stored events", "-stored 200000", false, newScale},
		{"flood", "latency of quiet tenants while one floods", "-rate 500 -seconds 10", false, newFlood},
		{"latency", "publish to stored, on the emulators", "-rate 100", true, newLatency},
		{"ops", "Firestore operations per event", "-events 2000 -memory", true, newOps},
		{"drain", "speed and CPU beside the obvious loop, on the emulators; the default", "-only usher -cpuprofile cpu.out", true, newDrain},
		{"memory", "resident memory of the daemon with a large backlog, on the emulators", "-messages 100000", true, newMemory},
		{"lease", "messages that come back while they are held, on the emulator", "-leases 15s -seconds 60", true, newLease},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := "drain"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && (args[0] == "-h" || strings.TrimLeft(args[0], "-") == "help") {
		return help(stdout)
	}
	switch name {
	case "help":
		return help(stdout)
	case "child":
		return runChild(ctx, args, stdout)
	case "all":
		return runAll(ctx, args, stdout, stderr)
	}
	for _, m := range modes() {
		if m.name == name {
			return m.run(ctx, args, stdout, stderr)
		}
	}
	return fmt.Errorf("no mode %q; bench help lists them", name)
}

func help(w io.Writer) error {
	fmt.Fprint(w, "Usage: go run ./internal/bench [mode] [flags]\n\nModes:\n")
	fmt.Fprintf(w, "  %-9s%s\n", "all", "every mode as it is by default")
	for _, m := range modes() {
		fmt.Fprintf(w, "  %-9s%s\n", m.name, m.what)
	}
	fmt.Fprint(w, "\nEach mode takes -json for the raw measurements and -help for its flags.\n\nExamples:\n  go run ./internal/bench all\n")
	for _, m := range modes() {
		fmt.Fprintf(w, "  go run ./internal/bench %s %s\n", m.name, m.example)
	}
	return nil
}

// run reads a mode's flags, measures and prints.
func (m *mode) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("bench "+m.name, flag.ContinueOnError)
	f.SetOutput(stderr)
	asJSON := f.Bool("json", false, "print one JSON object instead of tables")
	what := m.make()
	what.flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s: unexpected argument", m.name)
	}
	if err := what.validate(); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if missing := m.missing(ctx, what); missing != nil {
		_, err := fmt.Fprintf(stdout, "%s: left out, because Google's emulators are not here: %v\n", m.name, missing)
		return err
	}
	r, err := what.measure(ctx, stderr)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	r.Mode = m.name
	if *asJSON {
		return json.NewEncoder(stdout).Encode(r)
	}
	return r.print(stdout)
}

// missing is why the mode cannot be run here, nil when it can.
func (m *mode) missing(ctx context.Context, what measurement) error {
	if o, ok := what.(interface{ inMemory() bool }); !m.emulators || ok && o.inMemory() {
		return nil
	}
	for _, k := range []emulator.Kind{emulator.PubSub, emulator.Firestore} {
		if _, err := emulator.Find(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// runAll runs every mode as it is by default; flags can only be those that all have. One that fails does not keep
// the others from being run.
func runAll(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("bench all", flag.ContinueOnError)
	f.SetOutput(stderr)
	asJSON := f.Bool("json", false, "print one JSON object for each mode")
	if err := f.Parse(args); err != nil {
		return err
	}
	var errs []error
	for _, m := range modes() {
		if ctx.Err() != nil {
			break
		}
		errs = append(errs, m.run(ctx, []string{fmt.Sprintf("-json=%t", *asJSON)}, stdout, stderr))
	}
	return errors.Join(append(errs, ctx.Err())...)
}
