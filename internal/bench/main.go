// Command bench drains one backlog of messages with usher and with reference consumers, on Google's emulators, and
// prints speed, CPU time and Firestore operations of each side by side.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"time"

	"github.com/usherhq/usher/internal/emulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	events     int
	tenants    int
	duplicates float64
	rounds     int
	json       bool
	only       string
	profile    string

	child     string // set in child processes
	pubsub    string
	firestore string
	project   string
	messages  int
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.events, "events", 10_000, "distinct events")
	f.IntVar(&o.tenants, "tenants", 50, "tenants, Zipf distributed")
	f.Float64Var(&o.duplicates, "duplicates", 0.05, "share of events published twice")
	f.IntVar(&o.rounds, "rounds", 3, "rounds; the medians are printed")
	f.BoolVar(&o.json, "json", false, "print JSON, one object a drain")
	f.StringVar(&o.only, "only", "", "run only this contender")
	f.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the consumer to this file (with -only)")
	f.StringVar(&o.child, "child", "", "internal: be this consumer")
	f.StringVar(&o.pubsub, "pubsub", "", "internal: emulator")
	f.StringVar(&o.firestore, "firestore", "", "internal: emulator")
	f.StringVar(&o.project, "project", "", "internal: project")
	f.IntVar(&o.messages, "messages", 0, "internal: messages to handle")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.events < 1 || o.tenants < 1 || o.rounds < 1 || o.duplicates < 0 || o.duplicates > 1 {
		return o, errors.New("events, tenants and rounds: want at least 1; duplicates: 0 to 1")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.child != "" {
		return runChild(ctx, o, stdout)
	}
	for _, k := range []emulator.Kind{emulator.PubSub, emulator.Firestore} {
		if _, err := emulator.Find(ctx, k); err != nil {
			_, err = fmt.Fprintln(stdout, "end-to-end drain: left out, because Google's emulators are not installed (gcloud CLI)")
			return err
		}
	}
	var drains []drain
	for round := range o.rounds {
		d, err := runRound(ctx, o, round, stderr)
		if err != nil {
			return err
		}
		drains = append(drains, d...)
	}
	if o.json {
		return json.NewEncoder(stdout).Encode(drains)
	}
	return printTable(stdout, o, drains)
}

// drain is one consumer's drain of one backlog.
type drain struct {
	Contender string  `json:"contender"`
	Round     int     `json:"round"`
	Messages  int     `json:"messages"`
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu_seconds"`           // of the consumer
	Emulator  float64 `json:"firestore_cpu_seconds"` // of the Firestore emulator
	Counted   int64   `json:"counted"`               // by the usage counters
	Want      int64   `json:"want"`
	Commits   int64   `json:"commits"`
	Writes    int64   `json:"writes"`
	Reads     int64   `json:"reads"`
}

// contender is one way to consume the messages.
type contender struct {
	name string
	what string
	// once keeps it to the first round: it shows something and is slow.
	once bool
	// chain is the tenants' processor chain, for usher.
	visitors bool
}

var contenders = []contender{
	{name: "floor", what: "receive and ack, no work"},
	{name: "loop-20", what: "one Create and one Increment a message, 20 outstanding"},
	{name: "usher", what: "usher, profile processor", visitors: true},
	{name: "usher-records", what: "usher, identifications and usage only"},
	{name: "loop-1000", what: "the same loop at the default 1,000 outstanding", once: true},
}

// runRound starts fresh emulators, warms them up and lets each contender drain the same backlog, beginning
// with another one each round.
func runRound(ctx context.Context, o options, round int, stderr io.Writer) (out []drain, err error) {
	ps, err := emulator.Start(ctx, emulator.PubSub, emulator.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ps.Stop()) }()
	fs, err := emulator.Start(ctx, emulator.Firestore, emulator.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fs.Stop()) }()
	o.pubsub, o.firestore = ps.Host, fs.Host

	warm := o
	warm.events = min(o.events, 2000)
	warm.profile = ""
	for i, name := range []string{"loop-20", "usher"} {
		if _, err := runOne(ctx, warm, fs, contenders[indexOf(name)], -1-i); err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
	}
	for i := range contenders {
		c := contenders[(i+round)%len(contenders)]
		if (c.once && round > 0) || (o.only != "" && o.only != c.name) {
			continue
		}
		d, err := runOne(ctx, o, fs, c, round)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(stderr, "round %d  %-14s %7.0f events/s  %.3f CPU-s per 1,000\n",
			round+1, c.name, float64(d.Messages)/d.Seconds, 1000*d.CPU/float64(d.Messages))
		out = append(out, d)
	}
	return out, nil
}

func indexOf(name string) int {
	for i := range contenders {
		if contenders[i].name == name {
			return i
		}
	}
	panic("no contender " + name) // impossible: the names are in this file
}

// runOne publishes a backlog in a project of its own and has a child process drain it.
func runOne(ctx context.Context, o options, fs *emulator.Emulator, c contender, round int) (drain, error) {
	o.project = "bench-" + c.name + "-" + strconv.Itoa(round+10)
	d := drain{Contender: c.name, Round: round}
	b, err := prepare(ctx, o, c)
	if err != nil {
		return d, err
	}
	defer b.close()
	d.Messages, d.Want = b.messages, int64(o.events)
	before, err := fs.CPUTime()
	if err != nil {
		return d, err
	}
	self, err := os.Executable()
	if err != nil {
		return d, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, //nolint:gosec // this very program
		"-child", c.name, "-pubsub", o.pubsub, "-firestore", o.firestore,
		"-project", o.project, "-messages", strconv.Itoa(b.messages), "-cpuprofile", o.profile)
	cmd.Stderr = os.Stderr
	line, err := cmd.Output()
	if err != nil {
		return d, fmt.Errorf("child: %w", err)
	}
	if err := json.Unmarshal(line, &d); err != nil {
		return d, fmt.Errorf("child's answer: %w", err)
	}
	after, err := fs.CPUTime()
	if err != nil {
		return d, err
	}
	d.Emulator = (after - before).Seconds()
	d.Contender, d.Round, d.Messages, d.Want = c.name, round, b.messages, int64(o.events)
	d.Counted, err = b.counted(ctx, c)
	return d, err
}

// unread is where log lines go: making them is part of what is measured, so the handler must be a real one.
type unread struct{}

func (unread) Write(p []byte) (int, error) { return len(p), nil }

func quietLogger() *slog.Logger { return slog.New(slog.NewJSONHandler(unread{}, nil)) }

// now is the time of a drain.
func now() time.Time { return time.Now() }
