package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/emulator"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
)

// site is where a consumer works: one project of the emulators or, without them, the memory twins.
type site struct {
	PubSub    string        `json:"pubsub,omitempty"`
	Firestore string        `json:"firestore,omitempty"`
	Project   string        `json:"project"`
	Commit    time.Duration `json:"commit,omitempty"` // what a Commit of the twin takes
}

// streams is how many streaming pulls every consumer uses: the emulator is slow with fewer.
const streams = 4

// config is the default configuration, for this site.
func (s site) config() (*config.Config, error) {
	cfg, err := config.Load(config.Options{})
	if err != nil {
		return nil, err
	}
	cfg.Project, cfg.PubSub.EmulatorHost, cfg.Firestore.EmulatorHost = s.Project, s.PubSub, s.Firestore
	cfg.Consumer.HealthAddr = "127.0.0.1:0"
	cfg.PubSub.Streams = streams
	return cfg, nil
}

// open connects to the emulators, or makes twins.
func (s site) open(ctx context.Context, cfg *config.Config) (*app.Backend, error) {
	if s.PubSub != "" {
		return app.Open(ctx, cfg)
	}
	return &app.Backend{
		Store: memstore.New(memstore.Options{CommitDelay: s.Commit}), Queue: memqueue.New(memqueue.Options{}),
	}, nil
}

// settle makes topics, subscriptions and tenants whose chain is the profile processor.
func settle(ctx context.Context, cfg *config.Config, b *app.Backend, tenants []visitor.TenantID, visitors bool) error {
	if err := b.Queue.Create(ctx, app.Topology(cfg)); err != nil {
		return fmt.Errorf("create topology: %w", err)
	}
	reg, err := app.NewRegistry()
	if err != nil {
		return err
	}
	dir, err := app.NewDirectory(cfg, b.Store, reg)
	if err != nil {
		return err
	}
	defer dir.Close()
	grp, ctx := errgroup.WithContext(ctx)
	grp.SetLimit(8)
	for _, id := range tenants {
		grp.Go(func() error {
			_, err := dir.Create(ctx, benchTenant(id, visitors))
			return err
		})
	}
	return grp.Wait()
}

func benchTenant(id visitor.TenantID, visitors bool) *tenant.Tenant {
	return &tenant.Tenant{ID: id, Processors: []tenant.Binding{
		{Name: "profile", Settings: map[string]any{"visitors": visitors}},
	}}
}

// lab is a pair of emulators.
type lab struct{ pubsub, firestore *emulator.Emulator }

// inLab calls do with freshly started emulators and stops them.
func inLab(ctx context.Context, do func(*lab) error) error {
	ps, err := emulator.Start(ctx, emulator.PubSub, emulator.Options{})
	if err != nil {
		return err
	}
	fs, err := emulator.Start(ctx, emulator.Firestore, emulator.Options{})
	if err != nil {
		return errors.Join(err, ps.Stop())
	}
	return errors.Join(do(&lab{ps, fs}), fs.Stop(), ps.Stop())
}

// site is a project of its own: the emulators keep projects apart.
func (l *lab) site(project string) site {
	return site{PubSub: l.pubsub.Host, Firestore: l.firestore.Host, Project: project}
}

// inSite calls do with a site's configuration and its backend, and closes that.
func inSite(ctx context.Context, s site, do func(*config.Config, *app.Backend) error) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	b, err := s.open(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(do(cfg, b), b.Close())
}
