package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store/memstore"
)

const (
	twinDuplicates = 0.10
	twinTenants    = 20
	// twinVisits is how many events a visitor has, on average.
	twinVisits = 4
	// twinBacklog is how many messages wait at most: publishing keeps pace, so that memory holds what is stored and
	// not what is published too.
	twinBacklog = 20_000
	// twinDaemons are at work at a time.
	twinDaemons = 2
)

// twinFaults are on all the time.
var (
	twinStoreFaults = fault.Plan{fault.Aborted: 0.02, fault.LostResponse: 0.02, fault.LateApply: 0.01}
	twinQueueFaults = fault.Plan{
		fault.Redelivered: 0.01, fault.LeaseExpired: 0.01, fault.Reordered: 0.02,
		fault.PublishFails: 0.01, fault.PublishLost: 0.01, fault.NoAttempt: 0.1,
	}
)

// twins drains events with daemons in this process, two at a time, and again and again abandons one of them.
func twins(ctx context.Context, r *rig) error {
	store, faults := fault.New(r.seed(), twinStoreFaults), fault.New(r.seed()+1, twinQueueFaults)
	s := memstore.New(memstore.Options{Faults: store})
	q := memqueue.New(memqueue.Options{Faults: faults})
	r.backend = &app.Backend{Store: s, Queue: q}
	r.cfg.Consumer.HealthAddr = "127.0.0.1:0"
	r.cfg.PubSub.Lease = lease
	if err := q.Create(ctx, r.topology()); err != nil {
		return err
	}
	if err := r.createTenants(ctx, simulate.Tenants(twinTenants)); err != nil {
		return err
	}
	f := &fleet{r: r, queue: q}
	began := time.Now()
	err := f.drain(ctx)
	took := time.Since(began)
	s.Settle()
	r.row.injected(store.Struck())
	r.row.injected(faults.Struck())
	r.row.inject("daemons abandoned", f.abandoned)
	r.row.inject("answers withheld", f.withheld())
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r.note("%.0f events a second over all, with the waits for leases; %d MiB held at the end, %d MiB of the system",
		float64(r.want.Messages())/took.Seconds(), mem.HeapAlloc>>20, mem.Sys>>20)
	stats := q.Stats(r.cfg.PubSub.Subscription)
	if cerr := r.check(ctx); cerr != nil || err != nil {
		return errors.Join(err, cerr)
	}
	r.row.Redelivered = int(stats.Delivered - stats.Published)
	if f.abandoned == 0 || f.withheld() == 0 {
		return errors.New("no daemon was abandoned with anything in flight: nothing was survived")
	}
	return nil
}

// fleet is the daemons on the twins.
type fleet struct {
	r         *rig
	queue     *memqueue.Queue
	running   []*member
	lives     []*life
	wg        sync.WaitGroup
	abandoned int
}

// member is one daemon.
type member struct {
	life *life
	stop context.CancelFunc
	done chan error
}

// drain publishes and receives until nothing is left.
func (f *fleet) drain(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer f.wg.Wait()
	for range twinDaemons {
		if err := f.start(); err != nil {
			return err
		}
	}
	defer f.stop()
	published := make(chan error, 1)
	go func() { published <- f.publish(ctx) }()
	if err := f.abandon(ctx, published); err != nil {
		cancel()
		return errors.Join(err, ignoreCanceled(<-published))
	}
	return f.idle(ctx)
}

// abandon cuts off the oldest daemon at even steps of progress and starts another in its place, until everything is
// published and the last step is made.
func (f *fleet) abandon(ctx context.Context, published <-chan error) error {
	steps := pick(f.r.s.o.short, 4, 10)
	told, done := time.Now(), false
	for step := 1; step <= steps; {
		select {
		case err := <-published:
			if err != nil {
				return err
			}
			done, published = true, nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
		acked := f.queue.Stats(f.r.cfg.PubSub.Subscription).Acked
		if time.Since(told) > tellEvery {
			told = time.Now()
			f.r.say("%d of %d events acked, %d daemons abandoned", acked, f.r.s.o.events, f.abandoned)
		}
		if acked < int64(step*f.r.s.o.events/(steps+1)) {
			continue
		}
		step++
		f.abandoned++
		old := f.running[0]
		f.running = f.running[1:]
		old.life.cut()
		old.stop() // it may go home; nobody hears it any more
		if err := f.start(); err != nil {
			return err
		}
	}
	if done {
		return nil
	}
	select {
	case err := <-published:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *fleet) start() error {
	l := newLife()
	d, err := app.NewDaemon(f.r.cfg, l.backend(f.r.backend), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{life: l, stop: stop, done: make(chan error, 1)}
	f.wg.Go(func() { m.done <- d.Run(ctx) })
	f.running = append(f.running, m)
	f.lives = append(f.lives, l)
	return nil
}

// stop ends the daemons that are still at work.
func (f *fleet) stop() {
	for _, m := range f.running {
		m.stop()
	}
}

func (f *fleet) withheld() int {
	n := int64(0)
	for _, l := range f.lives {
		n += l.withheld.Load()
	}
	return int(n)
}

// idle waits until no subscription has anything left. Lanes are fed by the main subscription and dead letters by all.
func (f *fleet) idle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.r.ceiling, fmt.Errorf("the twins are not idle after %s", f.r.ceiling))
	defer cancel()
	subs := f.r.topology().Subscriptions
	for {
		for i := range subs {
			if err := f.queue.WaitIdle(ctx, subs[i].Name); err != nil {
				return errors.Join(err, context.Cause(ctx))
			}
		}
		left := 0
		for i := range subs {
			st := f.queue.Stats(subs[i].Name)
			left += st.Backlog + st.Outstanding
		}
		if left == 0 {
			return nil
		}
	}
}

// publish publishes small events, some of them again later.
func (f *fleet) publish(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(f.r.seed(), 2))
	topic := f.queue.Publisher(f.r.cfg.PubSub.Topic)
	tenants := simulate.Tenants(twinTenants)
	now := time.Now().UTC().Truncate(time.Microsecond)
	visitors := max(1, f.r.s.o.events/twinVisits/twinTenants)
	var again []*queue.Message
	for n := range f.r.s.o.events {
		ev := smallEvent(rng, tenants[rng.IntN(len(tenants))].ID, n, visitors, now)
		f.r.want.Add(ev)
		m, err := envelope.Encode(ev, nil)
		if err != nil {
			return err
		}
		if err := f.put(ctx, topic, m); err != nil {
			return err
		}
		if rng.Float64() < twinDuplicates {
			f.r.want.Add(ev)
			again = append(again, m)
		}
		if len(again) > 1000 || n == f.r.s.o.events-1 {
			for _, m := range again {
				if err := f.put(ctx, topic, m); err != nil {
					return err
				}
			}
			again = again[:0]
		}
		if n%1000 == 0 {
			if err := f.keepPace(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// put publishes until the queue has acknowledged it, as ingest and vendors together do.
func (f *fleet) put(ctx context.Context, topic queue.Publisher, m *queue.Message) error {
	for {
		if _, err := topic.Publish(ctx, m); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (f *fleet) keepPace(ctx context.Context) error {
	for f.queue.Stats(f.r.cfg.PubSub.Subscription).Backlog > twinBacklog {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// smallEvent makes an event of few fields. Every fourth has no id of its own, so that its repetitions are told by
// their bodies.
func smallEvent(rng *rand.Rand, t visitor.TenantID, n, visitors int, now time.Time) *visitor.Event {
	who := rng.IntN(visitors)
	ev := &visitor.Event{
		Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: t, Source: "midbound",
		ID: visitor.NewEventID("midbound", t, fmt.Sprint("small-", n), 0), Origin: visitor.OriginWebhook,
		IdentifiedAt: now.Add(-time.Duration(n) * time.Millisecond), Receipt: visitor.Receipt{ReceivedAt: now},
		Person: visitor.Person{Emails: []visitor.Email{{Address: fmt.Sprintf("visitor.%d@initech.example", who)}}},
	}
	if n%4 == 0 {
		ev.RepeatAfterSeconds = 3600
	}
	ev.VisitorID = ev.Visitor()
	return ev
}

// ignoreCanceled is nil for what ended only because it was told to.
func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
