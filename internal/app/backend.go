// Package app puts usher together: it maps the configuration to each package's options, opens the drivers and
// runs the daemon, the HTTP functions and the development mode.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/filter"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/gcppubsub"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/score"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/gcpfirestore"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/telemetry"
)

// emulatorProject is the project used with emulators when none is configured.
const emulatorProject = "demo-usher"

// NewLogger returns the configured logger, writing to w.
func NewLogger(w io.Writer, cfg *config.Config, component string) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	return telemetry.New(w, telemetry.Options{
		Level: level, Format: telemetry.Format(cfg.Log.Format), Project: cfg.Project,
		Labels: logLabels(component),
	})
}

// logLabels are on every line of a component.
func logLabels(component string) map[string]string {
	return map[string]string{"component": component, "version": Version()}
}

// NewRegistry returns the processors of this build. Every processor is registered here.
func NewRegistry(more ...processor.Processor) (*processor.Registry, error) {
	r := processor.NewRegistry()
	for _, p := range append([]processor.Processor{profile.Processor{}, filter.Processor{}, score.Processor{}}, more...) {
		if err := r.Register(p); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// NewDirectory returns the tenants kept in a store.
func NewDirectory(cfg *config.Config, s store.Store, r *processor.Registry) (*directory.Directory, error) {
	return directory.New(directory.Options{
		Store: s, Registry: r, Staleness: cfg.Tenants.Staleness, CacheSize: cfg.Tenants.CacheSize, Now: time.Now,
	})
}

// OpenStore opens Firestore, or its emulator, as configured.
func OpenStore(ctx context.Context, cfg *config.Config) (store.Store, error) {
	s, err := gcpfirestore.Open(ctx, gcpfirestore.Options{
		Project: project(cfg), Database: cfg.Firestore.Database,
		EmulatorHost: cfg.Firestore.EmulatorHost, Connections: cfg.Firestore.Connections,
	})
	if err != nil {
		return nil, fmt.Errorf("open firestore: %w", err)
	}
	return s, nil
}

// OpenQueue opens Pub/Sub, or its emulator, as configured.
func OpenQueue(ctx context.Context, cfg *config.Config) (queue.Queue, error) {
	q, err := gcppubsub.Open(ctx, gcppubsub.Options{
		Project: project(cfg), EmulatorHost: cfg.PubSub.EmulatorHost, PublishTimeout: cfg.PubSub.PublishTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("open pubsub: %w", err)
	}
	return q, nil
}

func project(cfg *config.Config) string {
	if cfg.Project == "" && cfg.Emulated() {
		return emulatorProject
	}
	return cfg.Project
}

// Backend is the outside systems of one process.
type Backend struct {
	Store store.Store
	Queue queue.Queue
}

// Open opens Google's services, or their emulators, as configured.
func Open(ctx context.Context, cfg *config.Config) (*Backend, error) {
	if err := cfg.ValidateRun(); err != nil {
		return nil, err
	}
	s, err := OpenStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	q, err := OpenQueue(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Backend{Store: s, Queue: q}, nil
}

// OpenDev opens the emulators whose variables are set and memory twins for the rest.
func OpenDev(ctx context.Context, cfg *config.Config) (*Backend, error) {
	if cfg.Project == "" {
		cfg.Project = emulatorProject
	}
	b := &Backend{}
	var err error
	if cfg.Firestore.EmulatorHost == "" {
		b.Store = memstore.New(memstore.Options{})
	} else if b.Store, err = OpenStore(ctx, cfg); err != nil {
		return nil, err
	}
	if cfg.PubSub.EmulatorHost == "" {
		b.Queue = memqueue.New(memqueue.Options{})
	} else if b.Queue, err = OpenQueue(ctx, cfg); err != nil {
		return nil, errors.Join(err, b.Store.Close())
	}
	return b, nil
}

// Close releases everything.
func (b *Backend) Close() error { return errors.Join(b.Queue.Close(), b.Store.Close()) }

// CloseWithin is Close with a limit: a service that does not answer must not keep a process from ending.
func (b *Backend) CloseWithin(d time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- b.Close() }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errNotClosed
	}
}

var errNotClosed = errors.New("connections were not closed in time")

// Topology is what the configuration expects to exist; dev mode and tests create it, Terraform does
// elsewhere.
func Topology(cfg *config.Config) queue.Topology {
	sub := func(name, topic string) queue.SubscriptionSpec {
		return queue.SubscriptionSpec{
			Name: name, Topic: topic, AckDeadline: cfg.PubSub.Lease, MinBackoff: 10 * time.Second, MaxBackoff: 600 * time.Second,
		}
	}
	lane := func(name, topic string) queue.SubscriptionSpec {
		s := sub(name, topic)
		s.DeadLetterTopic, s.MaxAttempts = cfg.PubSub.DeadLetterTopic, queue.MaxAttempts
		return s
	}
	t := queue.Topology{
		Topics:        []string{cfg.PubSub.Topic, cfg.PubSub.DeadLetterTopic},
		Subscriptions: []queue.SubscriptionSpec{lane(cfg.PubSub.Subscription, cfg.PubSub.Topic)},
	}
	for n := range dispatch.OverflowLanes {
		topic := overflowName(cfg.PubSub.OverflowTopic, n)
		t.Topics = append(t.Topics, topic)
		t.Subscriptions = append(t.Subscriptions, lane(overflowName(cfg.PubSub.OverflowSubscription, n), topic))
	}
	// Production keeps dead letters for 31 days, which the emulator refuses.
	t.Subscriptions = append(t.Subscriptions, sub(cfg.PubSub.DeadLetterSubscription, cfg.PubSub.DeadLetterTopic))
	return t
}
