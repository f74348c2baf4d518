package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/testkit/grpcproxy"
)

var scenarios = []scenario{
	{name: "faults", what: "calls cut, delayed and refused, responses lost and held, Firestore slow", run: faults, proxied: true},
	{name: "outage", what: "Firestore refuses connections for minutes, then Pub/Sub does", run: outage, proxied: true},
	{name: "paused", what: "Firestore stands still for minutes", run: paused, alone: true},
	{name: "replaced", what: "Firestore is killed and replaced by one that has all it acknowledged", run: replaced, proxied: true, alone: true},
	{name: "kill", what: "the daemon is killed in the middle of a drain, three times", run: kill},
	{name: "pair", what: "two daemons at once, with few and therefore hot visitors", run: pair},
	{name: "rolling", what: "daemons are replaced one after the other under load", run: rolling},
	{name: "poison", what: "a poisonous message per hundred", run: poison},
	{name: "flood", what: "one tenant has 100 times the events of all others", run: flood},
	{name: "spike", what: "from 16 to 3,500 events a second and back", run: spike},
	{name: "twins", what: "on the memory twins, daemons are abandoned in mid-flight", run: twins, twins: true},
}

// begin prepares the topology and the traffic and starts n daemons.
func (r *rig) begin(ctx context.Context, n int) error {
	for range n {
		if _, err := r.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// faults keeps a steady load going while both proxies misbehave.
func faults(ctx context.Context, r *rig) error {
	r.plans.firestore = fault.Plan{
		grpcproxy.Delayed: 0.2, grpcproxy.Lost: 0.06, grpcproxy.Held: 0.01, grpcproxy.Burst: 0.01, grpcproxy.Cut: 0.004,
	}
	r.plans.pubsub = fault.Plan{grpcproxy.Delayed: 0.1, grpcproxy.Lost: 0.05}
	if !r.s.o.short {
		// The emulator goes on giving messages to streams that are cut, for a while, and delivers them again minutes
		// later.
		r.plans.pubsub[grpcproxy.Burst], r.plans.pubsub[grpcproxy.Cut] = 0.01, 0.001
		r.quiet = time.Minute
	}
	if err := r.wire(ctx); err != nil {
		return err
	}
	events := pick(r.s.o.short, 1500, 10_000)
	messages, err := r.messages(ctx, load{events: events, tenants: simulate.Tenants(20)})
	if err != nil {
		return err
	}
	if err := r.begin(ctx, 1); err != nil {
		return err
	}
	err = r.during(ctx, messages, 150, func(ctx context.Context) error {
		for _, share := range []float64{0.25, 0.5, 0.75} {
			err := r.until(ctx, r.ceiling, fmt.Sprintf("%.0f %% are ended", 100*share), func() bool {
				return r.ledger.progress().events >= int(share*float64(events))
			})
			if err != nil {
				return err
			}
			r.firestore.Cut()
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = r.until(ctx, r.ceiling, "every event is stored under faults", func() bool { return r.ledger.progress().events >= r.want.Distinct() })
	if err != nil {
		return err
	}
	r.firestore.Calm()
	r.pubsub.Calm()
	struck := r.firestore.Injected()
	kinds := []fault.Kind{grpcproxy.Delayed, grpcproxy.Lost, grpcproxy.Cut, grpcproxy.Burst}
	if r.s.o.short {
		kinds = kinds[:2] // it has too few calls for the rare ones to come up every time
	}
	for _, k := range kinds {
		if struck[k] == 0 {
			return fmt.Errorf("no %s was injected into Firestore's calls: nothing was survived", k)
		}
	}
	return nil
}

// outage takes Firestore away, then Pub/Sub. The subscription's attempts would be used up several times over, so that
// parking on attempts would show.
func outage(ctx context.Context, r *rig) error {
	r.attempts = pick(r.s.o.short, 5, 50) // leases that end in Pub/Sub's own outage are attempts too
	if err := r.wire(ctx); err != nil {
		return err
	}
	length := pick(r.s.o.short, 10*time.Second, 3*time.Minute)
	type system struct {
		name  string
		proxy *grpcproxy.Proxy
	}
	away := []system{{"Firestore", r.firestore}}
	if !r.s.o.short { // see faults: what the emulator gives to streams that are gone comes again minutes later
		away = append(away, system{"Pub/Sub", r.pubsub})
		r.quiet = time.Minute
	}
	const perSecond = 20
	events := int(perSecond * float64(len(away)) * (length.Seconds() + 15))
	messages, err := r.messages(ctx, load{events: events, tenants: simulate.Tenants(20), clean: true})
	if err != nil {
		return err
	}
	if err := r.begin(ctx, 1); err != nil {
		return err
	}
	return r.during(ctx, messages, perSecond, func(ctx context.Context) error {
		for _, p := range away {
			p.proxy.Down()
			err := r.absence(ctx, p.name, length, func() error { p.proxy.Up(); return nil })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// paused stops the processes of the Firestore emulator: connections stay, nothing answers.
func paused(ctx context.Context, r *rig) error {
	// The emulator sends past flow control, and what waits in a connection loses its lease every 15 s: an attempt each time.
	r.attempts = pick(r.s.o.short, 5, 50)
	if err := r.wire(ctx); err != nil {
		return err
	}
	length := pick(r.s.o.short, 10*time.Second, 3*time.Minute)
	const perSecond = 20
	events := int(perSecond * (length.Seconds() + 15))
	messages, err := r.messages(ctx, load{events: events, tenants: simulate.Tenants(20), clean: true})
	if err != nil {
		return err
	}
	if err := r.begin(ctx, 1); err != nil {
		return err
	}
	return r.during(ctx, messages, perSecond, func(ctx context.Context) error {
		if err := pause(r.own.Pid); err != nil {
			return err
		}
		r.row.inject("paused", 1)
		return r.absence(ctx, "Firestore", length, func() error { return resume(r.own.Pid) })
	})
}

// replaced kills the Firestore emulator under load and starts another with its data, at another address.
func replaced(ctx context.Context, r *rig) error {
	if err := r.wire(ctx); err != nil {
		return err
	}
	const perSecond = 20
	messages, err := r.messages(ctx, load{events: perSecond * 20, tenants: simulate.Tenants(20)})
	if err != nil {
		return err
	}
	if err := r.begin(ctx, 1); err != nil {
		return err
	}
	return r.during(ctx, messages, perSecond, func(ctx context.Context) error {
		err := r.until(ctx, r.ceiling, "a quarter is ended", func() bool { return r.ledger.progress().ended > len(messages)/4 })
		if err != nil {
			return err
		}
		r.firestore.Down()
		if err := r.replaceFirestore(ctx); err != nil {
			return err
		}
		r.row.inject("Firestore replaced", 1)
		return r.absence(ctx, "Firestore", time.Second, func() error { r.firestore.Up(); return nil })
	})
}

// absence lets an outage that has begun last, ends it, and wants the same daemon to be at work again soon.
func (r *rig) absence(ctx context.Context, system string, length time.Duration, end func() error) error {
	r.say("%s is away for %s", system, length)
	err := sleep(ctx, length)
	if eerr := end(); eerr != nil {
		return eerr
	}
	if err != nil {
		return err
	}
	before, back := r.ledger.progress().ended, time.Now()
	err = r.until(ctx, resumeWithin, "work goes on after "+system+" came back", func() bool {
		return r.ledger.progress().ended > before
	})
	if err != nil {
		return err
	}
	if !r.daemons[0].running() {
		return fmt.Errorf("the daemon ended in the outage: %w", r.daemons[0].waitErr)
	}
	r.note("%s was away for %s; work went on %.1f s after it came back", system, length, time.Since(back).Seconds())
	return nil
}

// resumeWithin is what operators are promised.
const resumeWithin = 30 * time.Second

// kill kills the daemon in the middle of a drain and starts another.
func kill(ctx context.Context, r *rig) error {
	shares := pick(r.s.o.short, []float64{0.3}, []float64{0.2, 0.4, 0.6})
	r.ceiling = pick(r.s.o.short, 5*time.Minute, time.Duration(len(shares))*10*time.Minute)
	r.quiet = pick(r.s.o.short, 10*time.Second, time.Minute)
	if err := r.wire(ctx); err != nil {
		return err
	}
	messages, err := r.messages(ctx, load{events: pick(r.s.o.short, 2000, 20_000), tenants: simulate.Tenants(50)})
	if err != nil {
		return err
	}
	if err := r.publish(ctx, messages, 0); err != nil {
		return err
	}
	for _, share := range shares {
		d, err := r.start(ctx)
		if err != nil {
			return err
		}
		at := int(share * float64(len(messages)))
		err = r.until(ctx, r.ceiling, fmt.Sprintf("%d messages are ended", at), func() bool { return r.ledger.progress().ended >= at })
		if err != nil {
			return err
		}
		if err := d.kill(); err != nil {
			return err
		}
		r.row.inject("SIGKILL", 1)
		if missing, _ := r.ledger.missing(); missing == 0 {
			return errors.New("the daemon had ended all messages before it was killed: nothing was survived")
		}
	}
	return r.begin(ctx, 1)
}

// pair has two daemons write the same few visitors.
func pair(ctx context.Context, r *rig) error {
	if err := r.wire(ctx); err != nil {
		return err
	}
	messages, err := r.messages(ctx, load{
		events: pick(r.s.o.short, 2000, 20_000), tenants: simulate.Tenants(10), visitors: 20,
	})
	if err != nil {
		return err
	}
	if err := r.publish(ctx, messages, 0); err != nil {
		return err
	}
	r.row.inject("daemons", 2)
	return r.begin(ctx, 2)
}

// rolling replaces the daemon again and again while events keep coming, as a deployment does.
func rolling(ctx context.Context, r *rig) error {
	if err := r.wire(ctx); err != nil {
		return err
	}
	restarts := pick(r.s.o.short, 2, 8)
	const perSecond = 100
	messages, err := r.messages(ctx, load{events: restarts * 10 * perSecond, tenants: simulate.Tenants(20)})
	if err != nil {
		return err
	}
	old, err := r.start(ctx)
	if err != nil {
		return err
	}
	var slowest time.Duration
	err = r.during(ctx, messages, perSecond, func(ctx context.Context) error {
		for n := range restarts {
			at := (n + 1) * len(messages) / (restarts + 2)
			err := r.until(ctx, r.ceiling, fmt.Sprintf("%d messages are ended", at), func() bool { return r.ledger.progress().ended >= at })
			if err != nil {
				return err
			}
			next, err := r.start(ctx)
			if err != nil {
				return err
			}
			took, err := old.terminate()
			if err != nil {
				return err
			}
			r.row.inject("SIGTERM", 1)
			old, slowest = next, max(slowest, took)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.drained(ctx); err != nil {
		return err
	}
	again, repeated := r.ledger.again()
	r.note("%d restarts, the slowest took %.1f s; %d of %d messages were delivered again, %d of them after a daemon had handled them",
		restarts, slowest.Seconds(), again, len(messages), repeated)
	if float64(repeated) > stormShare*float64(len(messages)) {
		return fmt.Errorf("a storm: %d of %d messages were handled again after %d restarts", repeated, len(messages), restarts)
	}
	return nil
}

// stormShare is the share of messages that may be handled again in rolling restarts. What the emulator gives to streams
// that have just ended is delivered again, too, but not handled before.
const stormShare = 0.05

// poison is nothing but messages that are in order and messages that are not.
func poison(ctx context.Context, r *rig) error {
	if err := r.wire(ctx); err != nil {
		return err
	}
	messages, err := r.messages(ctx, load{events: pick(r.s.o.short, 2000, 10_000), tenants: simulate.Tenants(50)})
	if err != nil {
		return err
	}
	r.row.inject("poison", r.want.Poison())
	if err := r.publish(ctx, messages, 0); err != nil {
		return err
	}
	return r.begin(ctx, 1)
}

// flood publishes one tenant's backlog before and among the events of the others.
func flood(ctx context.Context, r *rig) error {
	if err := r.wire(ctx); err != nil {
		return err
	}
	big, others, err := r.flooded(ctx, pick(r.s.o.short, 3000, 20_000), 100)
	if err != nil {
		return err
	}
	r.row.inject("events of one tenant", len(big))
	if err := r.publish(ctx, mixed(big, others), 0); err != nil {
		return err
	}
	return r.begin(ctx, 1)
}

// spike publishes slowly, then very fast, then slowly again.
func spike(ctx context.Context, r *rig) error {
	if err := r.wire(ctx); err != nil {
		return err
	}
	const calm, rush = 16, 3500
	rushFor := pick(r.s.o.short, 1, 8) // seconds
	calmFor := pick(r.s.o.short, 5, 20)
	messages, err := r.messages(ctx, load{events: 2*calm*calmFor + rush*rushFor, tenants: simulate.Tenants(50)})
	if err != nil {
		return err
	}
	if err := r.begin(ctx, 1); err != nil {
		return err
	}
	a, b := calm*calmFor, len(messages)-calm*calmFor
	if err := r.publish(ctx, messages[:a], calm); err != nil {
		return err
	}
	began := time.Now()
	if err := r.publish(ctx, messages[a:b], rush); err != nil {
		return err
	}
	rate := float64(b-a) / time.Since(began).Seconds()
	r.row.inject("events a second at the peak", int(rate))
	if err := r.publish(ctx, messages[b:], calm); err != nil {
		return err
	}
	began = time.Now()
	if err := r.drained(ctx); err != nil {
		return err
	}
	r.note("%d events came at %.0f a second; the backlog was gone %.0f s after the last one", b-a, rate, max(0, time.Since(began)-r.quiet).Seconds())
	return nil
}
