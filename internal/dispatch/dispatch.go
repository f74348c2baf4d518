// Package dispatch takes each received message through its tenant's processors to the committer and decides
// whether it is acked, nacked or parked.
//
// A message is acked only after its effects are committed, or after the dead-letter topic has acknowledged it.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/tenant"
)

// Tenants finds tenant records.
type Tenants interface {
	// Get may answer from a cache; Fresh may not. Both return directory.ErrNotFound for an unknown tenant.
	Get(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error)
	Fresh(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error)
}

// Committer commits an event's effects.
type Committer interface {
	Add(ctx context.Context, it *commit.Item) error
}

// Options configure a [Dispatcher]. All are required but those of the overflow lanes.
type Options struct {
	Tenants     Tenants
	Registry    *processor.Registry
	Committer   Committer
	DeadLetters queue.Publisher
	Held        Holder
	// Resolver and Cookbook turn messages of cookbook publishers into events.
	Resolver *resolve.Resolver
	Cookbook *resolve.Endpoint
	// Probe returns nil when the store answers again.
	Probe            func(context.Context) error
	Logger           *slog.Logger
	Now              func() time.Time
	ProcessorTimeout time.Duration // for a tenant's whole chain
	PublishTimeout   time.Duration // for a dead letter
	ProbeInterval    time.Duration // longest pause between probes
	UnknownGrace     time.Duration // how old a message of an unknown tenant must be to be parked
	Window           time.Duration // dedupe window: older messages are parked
	MaxHold          time.Duration // how long a message is held while a system is away
	CacheSize        int           // chains kept
	// TenantConcurrency is how many of a tenant's chains run at a time.
	TenantConcurrency int
	SuccessSample     float64 // share of successful messages that are logged, 0 to 1

	// Overflow are the topics of the overflow lanes, [OverflowLanes] of them; without them nothing is shed.
	Overflow []queue.Publisher
	// MaxMessages and MaxBytes are the flow control of the main lane; required with Overflow.
	MaxMessages, MaxBytes int
	Meter                 metric.Meter // nil measures nothing
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	for what, missing := range map[string]bool{
		"tenants": o.Tenants == nil, "registry": o.Registry == nil, "committer": o.Committer == nil,
		"dead letters": o.DeadLetters == nil, "held": o.Held == nil, "resolver": o.Resolver == nil, "cookbook": o.Cookbook == nil,
		"probe": o.Probe == nil, "logger": o.Logger == nil, "now": o.Now == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("%s: required", what))
		}
	}
	for what, d := range map[string]time.Duration{
		"processor timeout": o.ProcessorTimeout, "publish timeout": o.PublishTimeout, "probe interval": o.ProbeInterval,
		"unknown grace": o.UnknownGrace, "window": o.Window, "max hold": o.MaxHold,
	} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: want more than 0", what))
		}
	}
	if n := len(o.Overflow); n != 0 && (n != OverflowLanes || o.MaxMessages < 1 || o.MaxBytes < 1) {
		errs = append(errs, fmt.Errorf("overflow: want %d topics, and max messages and bytes of at least 1", OverflowLanes))
	}
	if o.CacheSize < 1 {
		errs = append(errs, errors.New("cache size: want at least 1"))
	}
	if o.TenantConcurrency < 1 {
		errs = append(errs, errors.New("tenant concurrency: want at least 1"))
	}
	return errors.Join(errs...)
}

// Dispatcher handles messages. It is safe for concurrent use.
type Dispatcher struct {
	opts   Options
	chains *chains
	gate   *gate

	window   *window
	overflow [OverflowLanes]overflowLane
	ended    [lanes][outcomes]atomic.Int64
	metrics  metric.Registration
}

// New returns a dispatcher.
func New(o Options) (*Dispatcher, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	ch, err := newChains(&o)
	if err != nil {
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	d := &Dispatcher{
		opts: o, chains: ch, gate: newGate(o.Probe, o.ProbeInterval, o.Logger), window: newWindow(o.MaxMessages, o.MaxBytes),
	}
	if d.metrics, err = d.measure(o.Meter); err != nil {
		return nil, fmt.Errorf("dispatch: metrics: %w", err)
	}
	return d, nil
}

// Close ends probing. Call it after the last Handle has returned.
func (d *Dispatcher) Close() {
	d.gate.close()
	_ = d.metrics.Unregister() // the SDK's never fails
}

// Ready reports whether messages can be processed now.
func (d *Dispatcher) Ready() bool { return d.gate.isOpen() }

// Oldest returns how long the oldest unfinished message of all lanes has been here; 0 when there is none.
func (d *Dispatcher) Oldest() time.Duration { return d.window.age() }

// Handle processes one message of the main lane; it is a [queue.Handler].
func (d *Dispatcher) Handle(ctx context.Context, m *queue.Message) queue.Disposition {
	return d.receive(ctx, m, laneMain)
}

// receive handles one message of a lane. One that was shed is seen as it was before, wherever it comes from, so that
// its age and its attempts count from the beginning.
func (d *Dispatcher) receive(ctx context.Context, m *queue.Message, l lane) queue.Disposition {
	original, shed := envelope.Unshed(m)
	r := &report{m: original, start: time.Now(), place: place{lane: l, tenant: m.Attributes[envelope.AttrTenant]}}
	over := d.window.enter(r)
	defer d.window.leave(r)
	r.over = over && !shed && len(d.opts.Overflow) > 0
	disposition := d.guarded(ctx, r)
	d.ended[l][r.outcome].Add(1)
	d.log(ctx, r)
	return disposition
}

// guarded is handle, with a panic turned into a message error: once for each message.
func (d *Dispatcher) guarded(ctx context.Context, r *report) (disposition queue.Disposition) {
	defer func() {
		if v := recover(); v != nil {
			// What was thrown may hold personal data, so it is not part of the error.
			r.err = fmt.Errorf("panic of type %T", v)
			disposition = d.park(ctx, r, envelope.ReasonPanic)
		}
	}()
	return d.handle(ctx, r)
}

// handle tries a message until it is stored, parked, or must be given back.
func (d *Dispatcher) handle(ctx context.Context, r *report) queue.Disposition {
	if r.over && d.shed(ctx, r) {
		return queue.Ack
	}
	for {
		err := d.gate.wait(ctx, r.start.Add(d.opts.MaxHold))
		if err == nil {
			if err = d.process(ctx, r); err == nil {
				return queue.Ack
			}
		}
		r.err = err
		v, reason := judge(err)
		if v == verdictHold && code.Of(err) == code.Internal {
			// The store breaks on it, answers probes, and breaks on it again: it is this message, not the store.
			if r.broke {
				v = verdictNack
			}
			r.broke = true
		}
		switch v {
		case verdictPark:
			return d.park(ctx, r, reason)
		case verdictHold:
			d.gate.shut(ctx, err)
		case verdictNack:
			r.outcome = outcomeNacked
			return queue.Nack
		}
	}
}

// process is one try.
func (d *Dispatcher) process(ctx context.Context, r *report) error {
	if r.event == nil {
		if err := d.decode(ctx, r); err != nil {
			return err
		}
	}
	t, err := d.tenant(ctx, r)
	if err != nil {
		return err
	}
	if settled, err := d.settle(ctx, r, t.Status); settled {
		return err
	}
	if err := d.fresh(r); err != nil {
		return err
	}
	ch, err := d.chains.of(t)
	if err != nil {
		return err
	}
	effects, err := d.chains.run(ctx, ch, r.event)
	if err != nil {
		return err
	}
	if len(effects) == 0 {
		r.outcome = outcomeFiltered
		return nil
	}
	if r.item == nil { // one for all tries: it knows which Commits had no answer
		r.item = &commit.Item{Event: r.event, JSON: r.json, Raw: r.raw, RawEncoding: r.rawEncoding, Bytes: len(r.m.Data)}
	}
	it := r.item
	it.Tenant, it.Effects = t, effects
	// What was begun is finished even while receiving ends; the committer bounds its own time.
	if err := d.opts.Committer.Add(context.WithoutCancel(ctx), it); err != nil {
		return err
	}
	r.result = it.Result
	r.outcome = outcomeStored
	if it.Result.Duplicate {
		r.outcome = outcomeDuplicate
	}
	return nil
}

// tenant finds the event's tenant. Unknown is believed only after an uncached read and of a message that is
// not quite new: a webhook may come in the moment its tenant is created.
func (d *Dispatcher) tenant(ctx context.Context, r *report) (*tenant.Tenant, error) {
	t, err := d.opts.Tenants.Get(ctx, r.event.TenantID)
	if errors.Is(err, directory.ErrNotFound) {
		t, err = d.opts.Tenants.Fresh(ctx, r.event.TenantID)
		if errors.Is(err, directory.ErrNotFound) && d.opts.Now().Sub(r.m.PublishTime) < d.opts.UnknownGrace {
			return nil, errTooEarly
		}
	}
	if err != nil {
		return nil, unknownTenant(err)
	}
	return t, nil
}
