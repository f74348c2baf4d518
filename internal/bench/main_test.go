package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// TestMain lets the modes start this program as their child.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun_errors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, wantErr string }{
		{"faster", `no mode "faster"`},
		{"child", "want one task"},
		{"child {", "want one task"},
		{`child {"role":"barista"}`, `no role "barista"`},
		{"all -events 1", "not defined: -events"},
		{"twins again", "unexpected argument"},
		{"twins -events many", "invalid value"},
		{"twins -rounds 0", "rounds"},
		{"twins -warm -1", "warm"},
		{"twins -tenants 0", "events and tenants"},
		{"scale -tenants 0 -stored 0", "one of them above"},
		{"scale -rounds 0", "rounds"},
		{"flood -share 3", "share"},
		{"flood -rate 0", "rate"},
		{"latency -seconds 0", "seconds"},
		{"latency -rounds 0", "rounds"},
		{"ops -duplicates 2", "duplicates"},
		{"drain -events 0", "events"},
		{"-rounds 0", "rounds"},
		{"drain -only nobody", "no such consumer"},
		{"drain -cpuprofile x", "want -only"},
		{"memory -bytes 1", "bytes"},
		{"lease -leases 15", "leases"},
		{"lease -leases 15s,1s", "leases"},
		{"lease -seconds 0", "seconds"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

func TestRun_help(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"help", "-h", "--help"} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{arg}, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		for _, m := range modes() {
			if !strings.Contains(out.String(), "./internal/bench "+m.name+" "+m.example) {
				t.Errorf("%s: no example of %s", arg, m.name)
			}
		}
	}
	if err := run(t.Context(), []string{"lease", "-help"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want that help was asked for", err)
	}
}

// The examples of the help must be flags that exist and settings that make sense.
func TestModes_examples(t *testing.T) {
	t.Parallel()
	for _, m := range modes() {
		f, what := flag.NewFlagSet(m.name, flag.ContinueOnError), m.make()
		what.flags(f)
		if err := errors.Join(f.Parse(strings.Fields(m.example)), what.validate()); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// Every mode that needs no emulator is run with little to do.
func TestRun_small(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args    string
		columns []string // of the tables
		targets int
	}{
		{"twins -events 400 -warm 50 -rounds 1 -tenants 5", []string{"events/s and core", "our function"}, 1},
		{"scale -events 200 -tenants 30 -stored 300 -rounds 1", []string{"tenants"}, 2},
		{"flood -rate 100 -seconds 0.3 -rounds 1 -backlog 200 -commit 1ms", []string{"quiet tenants"}, 1},
		{"ops -memory -events 300 -tenants 5", []string{"duplicates"}, 6},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			name := strings.Fields(tt.args)[0]
			var text, raw bytes.Buffer
			if err := run(t.Context(), strings.Fields(tt.args), &text, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, want := range append(tt.columns, "verdict") {
				if !strings.Contains(text.String(), "| "+want) {
					t.Errorf("no column %q in:\n%s", want, text.String())
				}
			}
			if err := run(t.Context(), append(strings.Fields(tt.args), "-json"), &raw, io.Discard); err != nil {
				t.Fatal(err)
			}
			var r struct {
				Mode    string
				Targets []target
				Runs    []json.RawMessage
			}
			if err := json.Unmarshal(raw.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.Mode != name || len(r.Targets) != tt.targets || len(r.Runs) == 0 {
				t.Errorf("%s: mode %q, %d targets, want %d; %d runs", name, r.Mode, len(r.Targets), tt.targets, len(r.Runs))
			}
		})
	}
}

func TestOps_counts(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), strings.Fields("ops -memory -events 200 -tenants 3 -duplicates 0.2 -json"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r struct{ Runs []opsRun }
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for i, c := range r.Runs {
		if c.Ops.Records != int64(c.Events) || c.Ops.Profiles < 1 || c.Ops.Profiles > c.Ops.Records || c.Ops.Counters < 1 || c.Ops.Reads < 1 {
			t.Errorf("%s: %d new events and %+v", c.name(), c.Events, c.Ops)
		}
		if (c.Repeats == 0) != (i == 0) {
			t.Errorf("%s: %d repeats", c.name(), c.Repeats)
		}
	}
	if same, other := r.Runs[1], r.Runs[2]; other.Events+other.Repeats != same.Events || other.Repeats != same.Repeats {
		t.Errorf("of the same process %d+%d, of another %d+%d", same.Events, same.Repeats, other.Events, other.Repeats)
	}
}

func TestDrain_report(t *testing.T) {
	t.Parallel()
	var runs []drainRun
	for round := range 3 {
		slow := float64(1 + round) // a machine that gets slower changes no ratio
		for name, cpu := range map[string]float64{"floor": 0.3, "loop-20": 5, "usher": 2.25, "usher-records": 2} {
			runs = append(runs, drainRun{
				Contender: name, Round: round, Messages: 10_000, Want: 9500, Counted: 9500,
				drained: drained{Seconds: 4 * cpu * slow, CPU: cpu * slow},
			})
		}
	}
	r := newDrain().(*drain).report(runs)
	got := make([]string, len(r.Targets))
	for i := range r.Targets {
		got[i] = fmt.Sprintf("%s %s: %s", r.Targets[i].What, figure(r.Targets[i].Got), r.Targets[i].verdict())
	}
	want := []string{
		"usher: CPU, of loop-20's 0.45: met, not the aim",
		"usher: speed, times loop-20's 2.22: met, and the aim",
		"usher-records: CPU, of loop-20's 0.40: **missed**",
		"usher-records: speed, times loop-20's 2.50: met, not the aim",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if above := r.Tables[0].rows[1][4]; above != "16.7 x" {
		t.Errorf("loop-20 is %q above the floor", above)
	}
	if rest := drainTargets(of(runs, "usher")); rest != nil {
		t.Errorf("targets without a reference: %v", rest)
	}
}
