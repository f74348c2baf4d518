package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/queue"
)

// lease measures how many messages come back although this process still holds them, while all cores are busy with
// something else and each message is held for one to five leases.
type lease struct {
	leases   string
	seconds  float64
	messages int
	burners  int
	parsed   []time.Duration
}

func newLease() measurement { return &lease{} }

func (l *lease) flags(f *flag.FlagSet) {
	f.StringVar(&l.leases, "leases", "10s,15s,30s", "lease extensions, all measured at the same time")
	f.Float64Var(&l.seconds, "seconds", 90, "how long")
	// The emulator sends more than the client reads while flow control holds it back; what waits in the connection has
	// no lease extended, so more than the window of 1,000 would measure that.
	f.IntVar(&l.messages, "messages", 900, "messages waiting for each")
	f.IntVar(&l.burners, "burners", 2*runtime.GOMAXPROCS(0), "processes that keep a core busy")
}

func (l *lease) validate() error {
	l.parsed = nil
	for s := range strings.SplitSeq(l.leases, ",") {
		d, err := time.ParseDuration(strings.TrimSpace(s))
		if err != nil || d < 10*time.Second || d > 10*time.Minute {
			return errors.New("leases: want durations of 10s to 10m, separated by commas")
		}
		l.parsed = append(l.parsed, d)
	}
	if l.seconds <= 0 || l.messages < 1 || l.burners < 0 {
		return errors.New("seconds and messages: want more than 0; burners: not below 0")
	}
	return nil
}

// leaseTask is what a child measures.
type leaseTask struct {
	Lease time.Duration `json:"lease"`
	For   time.Duration `json:"for"`
	// GiveUp ends the extension of leases after the first one, so that messages do come back: it shows that they
	// would be seen.
	GiveUp bool `json:"give_up"`
}

func (t leaseTask) project() string { return fmt.Sprintf("bench-lease-%v-%t", t.Lease, t.GiveUp) }

func (t leaseTask) name() string {
	if t.GiveUp {
		return t.Lease.String() + ", not extended"
	}
	return t.Lease.String()
}

// leaseRun is what a child saw.
type leaseRun struct {
	Task     leaseTask `json:"task"`
	Messages int       `json:"messages"` // distinct
	Settled  int       `json:"settled"`
	Held     int       `json:"held_again"` // deliveries of what was held just then
	Late     int       `json:"after_ack"`  // and of what had been acked
	Attempts int       `json:"attempts"`   // deliveries that Pub/Sub counted as further ones
}

func (r leaseRun) share() float64 { return 100 * float64(r.Held+r.Late) / float64(max(r.Messages, 1)) }

func (l *lease) measure(ctx context.Context, w io.Writer) (*report, error) {
	c, err := traffic{Events: l.messages, Tenants: 50}.corpus(ctx)
	if err != nil {
		return nil, err
	}
	tasks := []leaseTask{{Lease: l.parsed[0], GiveUp: true}}
	for _, d := range l.parsed {
		tasks = append(tasks, leaseTask{Lease: d})
	}
	runs := make([]leaseRun, len(tasks))
	err = inLab(ctx, func(lab *lab) error {
		for _, t := range tasks {
			if err := l.stock(ctx, lab.site(t.project()), t.Lease, c); err != nil {
				return err
			}
			fmt.Fprintf(w, "lease: %s is ready\n", t.name())
		}
		length := time.Duration(l.seconds * float64(time.Second))
		grp, ctx := errgroup.WithContext(ctx)
		for range l.burners {
			grp.Go(func() error {
				var spins uint64
				return spawn(ctx, task{Role: "burn", Burn: length}, &spins)
			})
		}
		for i, t := range tasks {
			grp.Go(func() error {
				t.For = length
				return spawn(ctx, task{Role: "lease", Site: lab.site(t.project()), Lease: t}, &runs[i])
			})
		}
		return grp.Wait()
	})
	if err != nil {
		return nil, err
	}
	return l.report(runs), nil
}

// stock prepares the project of one lease.
func (l *lease) stock(ctx context.Context, at site, d time.Duration, c *corpus) error {
	return inSite(ctx, at, func(cfg *config.Config, b *app.Backend) error {
		cfg.PubSub.Lease = d // the subscription has it too
		if err := settle(ctx, cfg, b, c.tenants, true); err != nil {
			return err
		}
		return publishAll(ctx, b.Queue.Publisher(cfg.PubSub.Topic), c.messages)
	})
}

// leaseRole is a daemon that holds each message for one to five leases before it handles it.
func leaseRole(ctx context.Context, t task) (any, error) {
	w := &witness{hold: t.Lease.Lease, now: map[string]int{}, before: map[string]bool{}}
	err := inSite(ctx, t.Site, func(cfg *config.Config, b *app.Backend) error {
		cfg.PubSub.Lease = t.Lease.Lease
		if t.Lease.GiveUp {
			cfg.PubSub.MaxHold = t.Lease.Lease
		}
		w.Queue = b.Queue
		b.Queue = w
		ctx, cancel := context.WithTimeout(ctx, t.Lease.For)
		defer cancel()
		if err := app.TuneMemory(cfg); err != nil {
			return err
		}
		d, err := startDaemon(ctx, cfg, b)
		if err != nil {
			return err
		}
		return <-d.done
	})
	w.run.Task = t.Lease
	return w.run, err
}

// witness is a queue that holds messages and looks for those that come back.
type witness struct {
	queue.Queue
	hold time.Duration

	mu     sync.Mutex
	now    map[string]int  // held just now
	before map[string]bool // seen; true once acked
	run    leaseRun
}

// Subscriber implements [queue.Queue].
func (w *witness) Subscriber(name string, fc queue.FlowControl) queue.Subscriber {
	return witnessed{w.Queue.Subscriber(name, fc), name, w}
}

type witnessed struct {
	queue.Subscriber
	name string
	w    *witness
}

// Receive implements [queue.Subscriber].
func (s witnessed) Receive(ctx context.Context, h queue.Handler) error {
	return s.Subscriber.Receive(ctx, func(ctx context.Context, m *queue.Message) queue.Disposition {
		id := s.name + "/" + m.ID // topics count on their own
		s.w.arrived(id, m.Attempt)
		held := time.Duration((1 + 4*rand.Float64()) * float64(s.w.hold))
		if !sleepUntil(ctx, time.Now().Add(held)) {
			s.w.left(id, queue.Nack)
			return queue.Nack
		}
		d := h(ctx, m)
		s.w.left(id, d)
		return d
	})
}

func (w *witness) arrived(id string, attempt int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	acked, seen := w.before[id]
	switch {
	case w.now[id] > 0:
		w.run.Held++
	case acked:
		w.run.Late++
	case !seen:
		w.run.Messages++
		w.before[id] = false
	}
	if attempt > 1 {
		w.run.Attempts++
	}
	w.now[id]++
}

func (w *witness) left(id string, d queue.Disposition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now[id]--
	if d == queue.Ack {
		w.run.Settled++
		w.before[id] = true
	}
}

func (l *lease) report(runs []leaseRun) *report {
	r := &report{Runs: runs, Setting: fmt.Sprintf(
		"Pub/Sub emulator, %.0f s, each message held for one to five leases, %d processes burning %d cores, all leases at the same time",
		l.seconds, l.burners, runtime.GOMAXPROCS(0))}
	t := table{columns: []string{"lease", "messages", "acked", "came while held", "came after the ack", "further attempts", "share"}}
	for _, run := range runs {
		t.add(run.Task.name(), strconv.Itoa(run.Messages), strconv.Itoa(run.Settled), strconv.Itoa(run.Held),
			strconv.Itoa(run.Late), strconv.Itoa(run.Attempts), figure(run.share())+" %")
		if run.Task.Lease == 15*time.Second && !run.Task.GiveUp {
			r.Targets = append(r.Targets, atMost("messages that come back, % of all, at the default of 15s", run.share(), 0.1, 0))
		}
	}
	r.Tables = []table{t}
	r.Notes = []string{"The first row is to be above 0: it shows that messages which come back are seen."}
	return r
}
