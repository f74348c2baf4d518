package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/emulator"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/testkit/books"
	"github.com/usherhq/usher/internal/testkit/grpcproxy"
)

// rig is what one scenario runs on: a project of its own on the emulators, for some scenarios proxies between them and
// the daemons, and always a way around these for the suite.
type rig struct {
	s    *suite
	name string
	row  row

	cfg     *config.Config // the suite's
	backend *app.Backend   // likewise
	want    books.Expected
	ledger  *ledger
	daemons []*daemon

	proxied           bool
	pubsub, firestore *grpcproxy.Proxy // nil unless proxied
	plans             struct{ pubsub, firestore fault.Plan }
	own               *emulator.Emulator // the scenario's own Firestore, nil for the shared one
	attempts          int                // of the subscription's dead-letter policy
	quiet             time.Duration      // how long nothing may come before the scenario is over
	ceiling           time.Duration      // how long it may take to drain
}

const (
	lease   = 15 * time.Second // as by default
	streams = 4                // the emulator is slow with fewer
)

// seed of this scenario's traffic and faults.
func (r *rig) seed() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.name)) // never fails
	return h.Sum64() ^ r.s.o.seed
}

func (r *rig) say(format string, args ...any) { r.s.say(r.name+": "+format, args...) }

func (r *rig) note(format string, args ...any) {
	r.row.Notes = append(r.row.Notes, fmt.Sprintf(format, args...))
}

// open connects to the emulators. Proxies, topics and tenants come with prepare, once the scenario has said what it wants.
func (r *rig) open(ctx context.Context, sc scenario) error {
	r.ledger, r.proxied = newLedger(), sc.proxied
	r.quiet = pick(r.s.o.short, 3*time.Second, 10*time.Second)
	r.ceiling = pick(r.s.o.short, 5*time.Minute, 15*time.Minute)
	r.attempts = queue.MaxAttempts
	var err error
	if r.cfg, err = config.Load(config.Options{}); err != nil || sc.twins {
		return err
	}
	r.cfg.Project = "chaos-" + sc.name
	r.cfg.PubSub.EmulatorHost, r.cfg.Firestore.EmulatorHost = r.s.pubsub.Host, r.s.firestore.Host
	r.cfg.PubSub.Lease = lease
	if sc.alone {
		if r.own, err = emulator.Start(ctx, emulator.Firestore, emulator.Options{}); err != nil {
			return err
		}
		r.cfg.Firestore.EmulatorHost = r.own.Host
	}
	r.backend, err = app.Open(ctx, r.cfg)
	return err
}

// wire creates what the daemons receive from and starts the proxies.
func (r *rig) wire(ctx context.Context) error {
	if err := r.backend.Queue.Create(ctx, r.topology()); err != nil {
		return fmt.Errorf("create topology: %w", err)
	}
	if !r.proxied {
		return nil
	}
	var err error
	r.pubsub, err = grpcproxy.Start(ctx, grpcproxy.Options{
		Target: r.cfg.PubSub.EmulatorHost, Seed: r.seed(), Plan: r.plans.pubsub,
		Applied: []string{"Acknowledge", "Publish"}, Delay: longestDelay,
	})
	if err != nil {
		return err
	}
	r.firestore, err = grpcproxy.Start(ctx, grpcproxy.Options{
		Target: r.cfg.Firestore.EmulatorHost, Seed: r.seed() + 1, Plan: r.plans.firestore,
		Applied: []string{"Commit"}, Delay: longestDelay,
	})
	return err
}

const longestDelay = 400 * time.Millisecond

// topology is the application's, without a retry policy: what is nacked comes back at once, so that attempts are used up
// sooner, and the emulator delivers again what a killed client held within a minute or two; with a retry policy it was
// seen to take more than five.
func (r *rig) topology() queue.Topology {
	t := app.Topology(r.cfg)
	for i := range t.Subscriptions {
		s := &t.Subscriptions[i]
		s.MinBackoff, s.MaxBackoff = 0, 0
		if s.DeadLetterTopic != "" {
			s.MaxAttempts = r.attempts
		}
	}
	return t
}

// environment configures the daemons, as an operator would.
func (r *rig) environment() []string {
	pubsub, firestore := r.cfg.PubSub.EmulatorHost, r.cfg.Firestore.EmulatorHost
	if r.proxied {
		pubsub, firestore = r.pubsub.Addr, r.firestore.Addr
	}
	return []string{
		"GOOGLE_CLOUD_PROJECT=" + r.cfg.Project,
		"PUBSUB_EMULATOR_HOST=" + pubsub,
		"FIRESTORE_EMULATOR_HOST=" + firestore,
		"USHER_CONSUMER_HEALTH_ADDR=127.0.0.1:0",
		"USHER_PUBSUB_STREAMS=" + strconv.Itoa(streams),
		"USHER_PUBSUB_LEASE=" + lease.String(),
		"USHER_TENANTS_STALENESS=1s",
		"USHER_TENANTS_UNKNOWN_GRACE=1s",
	}
}

// until waits for a condition, asking ever more slowly, and tells now and then how far the daemons are.
func (r *rig) until(ctx context.Context, ceiling time.Duration, what string, done func() bool) error {
	end, told := time.Now().Add(ceiling), time.Now()
	for wait := 5 * time.Millisecond; !done(); wait = min(2*wait, 200*time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", ceiling, what)
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			p := r.ledger.progress()
			missing, published := r.ledger.missing()
			r.say("waiting until %s: %d of %d messages, %d of %d events, %d of %d dead letters", what,
				published-missing, published, p.events, r.want.Distinct(), p.letters, r.want.Poison())
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

const tellEvery = 15 * time.Second

// sleep returns the cause when ctx ended first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drained waits until every published message and event has been ended by some daemon, and no more come.
func (r *rig) drained(ctx context.Context) error {
	return r.until(ctx, r.ceiling, "everything is drained", func() bool {
		p := r.ledger.progress()
		missing, _ := r.ledger.missing()
		return p.events >= r.want.Distinct() && p.letters >= r.want.Poison() && missing == 0 && time.Since(p.last) >= r.quiet
	})
}

// settle drains, ends the daemons, and pulls what is left; what comes is given to another daemon, until nothing
// comes. The emulator takes its time to deliver again what a killed daemon held.
func (r *rig) settle(ctx context.Context) error {
	for end := time.Now().Add(r.ceiling); ; {
		if err := r.drained(ctx); err != nil {
			return err
		}
		if err := r.terminate(); err != nil {
			return err
		}
		left, err := r.pull(ctx)
		if err != nil || left == 0 {
			return err
		}
		r.say("%d messages were left in the subscriptions", left)
		if time.Now().After(end) {
			return fmt.Errorf("%d messages are left in the subscriptions after %s", left, r.ceiling)
		}
		if _, err := r.start(ctx); err != nil {
			return err
		}
	}
}

// terminate ends every running daemon, each with exit code 0.
func (r *rig) terminate() error {
	var grp errgroup.Group
	for _, d := range r.daemons {
		switch {
		case d.ended:
		case !d.running():
			return fmt.Errorf("daemon %s ended by itself: %w: %s", d.name, d.waitErr, d.stderr.String())
		default:
			grp.Go(func() error { _, err := d.terminate(); return err })
		}
	}
	return grp.Wait()
}

// pull counts what comes of the subscriptions within a while, and gives it back.
func (r *rig) pull(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, pick(r.s.o.short, 5*time.Second, 15*time.Second))
	defer cancel()
	var came atomic.Int64
	var grp errgroup.Group
	for _, spec := range r.topology().Subscriptions {
		sub := r.backend.Queue.Subscriber(spec.Name, queue.FlowControl{Lease: lease, Shutdown: time.Second})
		grp.Go(func() error {
			return sub.Receive(ctx, func(context.Context, *queue.Message) queue.Disposition {
				came.Add(1)
				return queue.Nack
			})
		})
	}
	if err := grp.Wait(); err != nil {
		return 0, fmt.Errorf("pull what is left: %w", err)
	}
	return int(came.Load()), nil
}

// audit settles what a scenario left and checks the books, of one that failed as they are.
func (r *rig) audit(ctx context.Context, failed error) error {
	if len(r.daemons) == 0 {
		return failed // nothing was tried
	}
	if failed == nil {
		failed = r.settle(ctx)
	}
	for _, p := range []*grpcproxy.Proxy{r.pubsub, r.firestore} {
		if p != nil {
			r.row.injected(p.Injected())
		}
	}
	return errors.Join(failed, r.check(ctx))
}

// check compares the books, also of a scenario that did not finish.
func (r *rig) check(ctx context.Context) error {
	r.say("checking the books: %d events", r.want.Distinct())
	rep, err := r.want.Check(ctx, r.backend.Store, r.cfg.Consumer.UsageShards)
	r.row.Messages, r.row.Poison = r.want.Messages(), r.want.Poison()
	r.row.Redelivered, _ = r.ledger.again()
	if err != nil {
		return fmt.Errorf("check the books: %w", err)
	}
	r.row.Report = *rep
	return nil
}

// close stops whatever still runs.
func (r *rig) close() error {
	var errs []error
	for _, d := range r.daemons {
		if d.running() {
			errs = append(errs, d.kill())
		}
	}
	for _, p := range []*grpcproxy.Proxy{r.pubsub, r.firestore} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if r.backend != nil {
		errs = append(errs, r.backend.CloseWithin(killWait))
	}
	if r.own != nil {
		errs = append(errs, r.own.Stop())
	}
	if err := errors.Join(errs...); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}
