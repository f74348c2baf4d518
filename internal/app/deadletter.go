package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source/vendors"
)

// receiveDeadLetters stores what was parked until ctx ends.
func (d *Daemon) receiveDeadLetters(ctx context.Context) error {
	r, err := deadletter.NewReceiver(deadletter.Options{
		Store: d.backend.Store, Logger: d.logger, Now: time.Now,
		Retention: max(queue.MaxRetention, d.cfg.Identity.Window), Timeout: d.cfg.Consumer.CommitTimeout,
	})
	if err != nil {
		return err
	}
	sub := d.backend.Queue.Subscriber(d.cfg.PubSub.DeadLetterSubscription, lettersFlow(d.cfg))
	d.keepReceiving(ctx, d.cfg.PubSub.DeadLetterSubscription, func() error { return sub.Receive(ctx, r.Handle) })
	return nil
}

// lettersFlow is the flow control of the dead letters.
func lettersFlow(cfg *config.Config) queue.FlowControl {
	return queue.FlowControl{
		MaxMessages: deadLettersAtOnce, MaxBytes: deadLetterBytes, Streams: 1,
		Lease: cfg.PubSub.Lease, MaxHold: cfg.PubSub.MaxHold, Shutdown: cfg.Consumer.CommitTimeout,
	}
}

// Dead letters are few, and nobody waits for them: they get a small share of the memory.
const (
	deadLettersAtOnce = 20
	deadLetterBytes   = 16 << 20
)

// Redriver is what redriving dead letters needs besides the operator's store.
type Redriver struct {
	Options deadletter.RedriveOptions // of the caller: what they do not say, such as the rate
	close   func() error
}

// OpenRedriver opens the topic of events at devAddr, the address that a running `usher dev` prints, or without one
// the configured Pub/Sub. For a dry run nothing is opened: nothing will be published.
func OpenRedriver(ctx context.Context, cfg *config.Config, op *Operator, devAddr string, dryRun bool) (*Redriver, error) {
	r := &Redriver{close: func() error { return nil }, Options: deadletter.RedriveOptions{
		DryRun: dryRun, Resolver: resolve.New(op.Tenants), Cookbook: cookbookEndpoint(cfg),
		Window: cfg.Identity.Window, Now: time.Now,
	}}
	infos := EndpointInfos(cfg)
	switch {
	case devAddr != "":
		link := devlink.Dial(devAddr)
		info, err := link.Info(ctx)
		if err != nil {
			return nil, errors.Join(err, link.Close())
		}
		infos, r.Options.Events, r.close = info.Endpoints, link.Publisher(info.Topic), link.Close
	case !dryRun:
		if cfg.PubSub.EmulatorHost == "" && cfg.Firestore.EmulatorHost != "" {
			return nil, errHalfEmulated
		}
		q, err := OpenQueue(ctx, cfg)
		if err != nil {
			return nil, err
		}
		r.Options.Events, r.close = q.Publisher(cfg.PubSub.Topic), q.Close
	}
	var err error
	if r.Options.Endpoints, err = resolvers(infos); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

var errHalfEmulated = errors.New("the dead letters are in the Firestore emulator: set PUBSUB_EMULATOR_HOST too")

// resolvers are the endpoints without what authenticates them: what is parked was authentic.
func resolvers(infos []devlink.Endpoint) ([]resolve.Endpoint, error) {
	sources := vendors.New()
	out := make([]resolve.Endpoint, len(infos))
	for i := range infos {
		e := &infos[i]
		adapter, err := sources.Lookup(e.Source)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		out[i] = resolve.Endpoint{Name: e.Name, Adapter: adapter, RepeatAfter: e.RepeatAfter}
		for _, t := range e.Tenants {
			out[i].Tenants = append(out[i].Tenants, visitor.TenantID(t))
		}
	}
	return out, nil
}

// Close releases everything.
func (r *Redriver) Close() error { return r.close() }
