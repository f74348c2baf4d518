package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/store"
)

// Daemon receives messages and commits what their tenants' processors make of them.
type Daemon struct {
	cfg        *config.Config
	backend    *Backend
	logger     *slog.Logger
	tenants    *directory.Directory
	committer  *commit.Committer
	dispatcher *dispatch.Dispatcher
	health     net.Listener
	receiving  atomic.Bool
}

// NewDaemon builds a daemon and binds its health address; nothing is received yet. Run releases what it made.
func NewDaemon(cfg *config.Config, b *Backend, logger *slog.Logger, more ...processor.Processor) (*Daemon, error) {
	reg, err := NewRegistry(more...)
	if err != nil {
		return nil, err
	}
	d := &Daemon{cfg: cfg, backend: b, logger: logger}
	var lc net.ListenConfig
	if d.health, err = lc.Listen(context.Background(), "tcp", cfg.Consumer.HealthAddr); err != nil {
		return nil, fmt.Errorf("consumer.health_addr: %w", err)
	}
	if err := d.build(reg); err != nil {
		return nil, errors.Join(err, d.health.Close())
	}
	return d, nil
}

func (d *Daemon) build(reg *processor.Registry) error {
	var err error
	if d.committer, err = newCommitter(d.cfg, d.backend.Store); err != nil {
		return err
	}
	if d.tenants, err = NewDirectory(d.cfg, d.backend.Store, reg); err != nil {
		return err
	}
	if d.dispatcher, err = d.newDispatcher(reg); err != nil {
		d.tenants.Close()
		return err
	}
	return nil
}

func newCommitter(cfg *config.Config, s store.Store) (*commit.Committer, error) {
	return commit.New(commit.Options{
		Store: s, Now: time.Now, MaxEvents: cfg.Consumer.BatchEvents, MaxBytes: cfg.Consumer.BatchBytes,
		Linger: cfg.Consumer.BatchLinger, Concurrency: cfg.Consumer.Committers, Timeout: cfg.Consumer.CommitTimeout,
		Shards: cfg.Consumer.UsageShards, CacheSize: cfg.Consumer.DedupeCache, Retention: cfg.Identity.Retention,
	})
}

func (d *Daemon) newDispatcher(reg *processor.Registry) (*dispatch.Dispatcher, error) {
	main := mainFlow(d.cfg)
	keeper, err := held.New(held.Options{
		Store: d.backend.Store, Now: time.Now, Retention: d.cfg.Identity.Retention, Timeout: d.cfg.Consumer.CommitTimeout,
	})
	if err != nil {
		return nil, err
	}
	return dispatch.New(dispatch.Options{
		Tenants: d.tenants, Registry: reg, Committer: d.committer,
		DeadLetters: d.backend.Queue.Publisher(d.cfg.PubSub.DeadLetterTopic),
		Held:        keeper,
		Resolver:    resolve.New(d.tenants),
		Cookbook:    cookbookEndpoint(d.cfg),
		Probe:       func(ctx context.Context) error { return probe(ctx, d.backend.Store) },
		Logger:      d.logger, Now: time.Now,
		ProcessorTimeout: d.cfg.Consumer.ProcessorTimeout, PublishTimeout: d.cfg.Consumer.PublishTimeout,
		ProbeInterval: d.cfg.Consumer.ProbeIntervalMax, UnknownGrace: d.cfg.Tenants.UnknownGrace,
		Window: d.cfg.Identity.Window, MaxHold: d.cfg.PubSub.MaxHold, CacheSize: d.cfg.Tenants.CacheSize,
		TenantConcurrency: d.cfg.Consumer.TenantConcurrency, SuccessSample: d.cfg.Log.SuccessSample,
		Overflow: overflowTopics(d.cfg, d.backend.Queue), MaxMessages: main.MaxMessages, MaxBytes: main.MaxBytes,
		Meter: otel.Meter("github.com/usherhq/usher"),
	})
}

// probe asks the store for a document that never exists.
func probe(ctx context.Context, s store.Store) error {
	p, err := store.NewPath("probes", "store")
	if err != nil {
		return err
	}
	_, err = s.Get(ctx, []store.Path{p})
	return err
}

// HealthAddr is where /livez and /readyz are served.
func (d *Daemon) HealthAddr() string { return d.health.Addr().String() }

// Stats returns what became of the messages so far, and the committer's counts.
func (d *Daemon) Stats() (map[string]int64, commit.Stats) {
	return d.dispatcher.Stats(), d.committer.Stats()
}

// Run receives until ctx ends, then drains within the configured grace. At the start a missing subscription
// or database is an error; later no error ends it.
func (d *Daemon) Run(ctx context.Context) error {
	srv := &http.Server{Handler: d.healthHandler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(d.health) }()
	var stops cleanups
	stops.add("health server", func(context.Context) error {
		err := srv.Close() // its clients are probes: nothing to wait for
		return errors.Join(err, unlessClosed(<-served))
	})
	stops.add("tenants", func(context.Context) error { d.tenants.Close(); return nil })
	stops.add("dispatcher", func(context.Context) error { d.dispatcher.Close(); return nil })
	stops.add("metrics", func(ctx context.Context) error { stopMetrics(ctx); return nil }) // while they can be observed
	stops.add("committer", d.committer.Close)

	grace := newGrace(ctx, d.cfg.Consumer.ShutdownGrace-config.FlushTime-config.CloseTime)
	ready, err := d.selfCheck(ctx)
	if ready {
		d.logger.InfoContext(ctx, "daemon started",
			"version", Version(),
			"subscription", d.cfg.PubSub.Subscription,
			"health_addr", d.HealthAddr(),
		)
		letters := make(chan error, 1)
		go func() { letters <- d.receiveDeadLetters(ctx) }()
		d.receive(ctx)
		err = <-letters
	}
	stopping, cancel := context.WithDeadlineCause(context.WithoutCancel(ctx), grace.end(), errGrace)
	defer cancel()
	err = errors.Join(err, stops.run(stopping))
	if ready {
		d.logger.InfoContext(stopping, "daemon stopped")
	}
	return err
}

var errGrace = errors.New("shutdown grace is over")

// grace is the time that a shutdown has, counted from the moment it was asked for.
type grace struct {
	length time.Duration
	asked  atomic.Pointer[time.Time]
}

func newGrace(ctx context.Context, length time.Duration) *grace {
	g := &grace{length: length}
	context.AfterFunc(ctx, func() {
		now := time.Now()
		g.asked.Store(&now)
	})
	return g
}

// end is when the grace is over; of a shutdown that nobody asked for, a whole one from now.
func (g *grace) end() time.Time {
	if asked := g.asked.Load(); asked != nil {
		return asked.Add(g.length)
	}
	return time.Now().Add(g.length)
}
