package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// Dev is the whole of usher in one process: HTTP functions, daemon, and the memory twins unless an emulator's
// variable is set.
type Dev struct {
	cfg     *config.Config
	logger  *slog.Logger
	backend *Backend
	daemon  *Daemon
	http    net.Listener
	link    net.Listener
	ingest  *Ingest
	linked  http.Handler
}

// NewDev opens the backends, creates topics, subscriptions and two demo tenants, and binds its addresses on
// loopback. Without configured endpoints there is one for each source, with secrets made for this run.
func NewDev(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*Dev, error) {
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = demoEndpoints()
	}
	b, err := OpenDev(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d := &Dev{cfg: cfg, logger: logger, backend: b}
	if err := d.prepare(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *Dev) prepare(ctx context.Context) error {
	// A dead emulator, or a variable that points to one, must not keep a person waiting without a word.
	creating, cancel := context.WithTimeoutCause(ctx, createTime, errNoAnswer)
	defer cancel()
	if err := d.backend.Queue.Create(creating, Topology(d.cfg)); err != nil {
		return fmt.Errorf("create topics and subscriptions%s: %w", at(d.cfg.PubSub.EmulatorHost), err)
	}
	if err := createDemoTenants(creating, d.cfg, d.backend); err != nil {
		return fmt.Errorf("create demo tenants%s: %w", at(d.cfg.Firestore.EmulatorHost), err)
	}
	var err error
	if d.http, err = listen(ctx, d.cfg.HTTP.Port); err != nil {
		return fmt.Errorf("http.port: %w", err)
	}
	if d.link, err = listen(ctx, 0); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if d.ingest, err = NewIngest(d.cfg, d.backend, d.logger); err != nil {
		return err
	}
	d.linked = devlink.NewServer(d.backend.Store, d.Info(), devlink.WithTopics(map[string]queue.Publisher{
		d.cfg.PubSub.Topic: d.backend.Queue.Publisher(d.cfg.PubSub.Topic),
	}))
	d.cfg.Consumer.HealthAddr = "127.0.0.1:0"
	d.daemon, err = NewDaemon(d.cfg, d.backend, d.logger)
	return err
}

// createTime is enough for an emulator that has just been started in the background.
const createTime = 20 * time.Second

// listen binds a loopback port; when it is taken, a free one.
func listen(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil && port != 0 {
		l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	return l, err
}

// Info says where this process can be reached and how its endpoints authenticate.
func (d *Dev) Info() devlink.Info {
	return devlink.Info{
		IngestURL: "http://" + d.http.Addr().String(),
		Endpoints: EndpointInfos(d.cfg),
		Topic:     d.cfg.PubSub.Topic,
	}
}

// EndpointInfos are the configured endpoints with the secrets in force.
func EndpointInfos(cfg *config.Config) []devlink.Endpoint {
	out := make([]devlink.Endpoint, 0, len(cfg.Endpoints))
	for i := range cfg.Endpoints {
		e := &cfg.Endpoints[i]
		info := devlink.Endpoint{
			Name: e.Name, Source: e.Source, Mode: string(e.Auth.Mode), Header: e.Auth.Header,
			Tenants: e.Tenants, RepeatAfter: e.RepeatAfter,
		}
		if len(e.Auth.Secrets) > 0 {
			info.Secret = e.Auth.Secrets[0].Reveal()
		}
		out = append(out, info)
	}
	return out
}

// LinkAddr is the value of USHER_DEV_ADDR for sibling commands.
func (d *Dev) LinkAddr() string { return d.link.Addr().String() }

// Store is the store of this process.
func (d *Dev) Store() store.Store { return d.backend.Store }

// Stats returns what became of the messages so far, by outcome.
func (d *Dev) Stats() map[string]int64 {
	m, _ := d.daemon.Stats()
	return m
}

// Run serves and receives until ctx ends, then drains. Call it once.
func (d *Dev) Run(ctx context.Context) error {
	servers := []*http.Server{
		{Handler: d.ingest, ReadHeaderTimeout: d.cfg.HTTP.ReadTimeout, ReadTimeout: d.cfg.HTTP.ReadTimeout},
		{Handler: d.linked, ReadHeaderTimeout: d.cfg.HTTP.ReadTimeout},
	}
	served := make(chan error, len(servers))
	for i, l := range []net.Listener{d.http, d.link} {
		go func() { served <- servers[i].Serve(l) }()
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	received := make(chan error, 1)
	go func() { received <- d.daemon.Run(running) }()

	var errs []error
	select {
	case err := <-served:
		errs = append(errs, fmt.Errorf("serve: %w", err))
		served <- http.ErrServerClosed // it is waited for below
	case err := <-received:
		errs = append(errs, err)
		received <- nil
	case <-ctx.Done():
	}
	// Requests end first, so that what they publish is still received.
	stopping, done := context.WithTimeoutCause(context.WithoutCancel(ctx), d.cfg.Consumer.ShutdownGrace, errGrace)
	defer done()
	for _, s := range servers {
		errs = append(errs, s.Shutdown(stopping))
	}
	for range servers {
		errs = append(errs, unlessClosed(<-served))
	}
	cancel()
	errs = append(errs, <-received, d.close())
	return errors.Join(errs...)
}

func (d *Dev) close() error {
	for _, l := range []net.Listener{d.http, d.link} {
		if l != nil {
			_ = l.Close() // closed by its server already when it was served
		}
	}
	if d.ingest != nil {
		d.ingest.Close()
	}
	return d.backend.Close()
}

// demoEndpoints has one endpoint for each source, authenticated as that vendor does it.
func demoEndpoints() []config.Endpoint {
	auth := func(mode config.AuthMode, header, prefix string) config.Auth {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // never fails
		return config.Auth{
			Mode: mode, Header: header, Tolerance: 5 * time.Minute,
			Secrets: []redact.Secret{redact.Secret(prefix + base64.StdEncoding.EncodeToString(b))},
		}
	}
	return []config.Endpoint{
		{Name: "mdb", Source: "mdb_legacy", Auth: auth(config.AuthURLToken, "", "")},
		{Name: "midbound", Source: "midbound", Auth: auth(config.AuthStandardWebhooks, "", "whsec_")},
		{Name: "leadpipe", Source: "leadpipe", Auth: auth(config.AuthHMACSHA256, "X-Webhook-Signature", "")},
	}
}

// DemoTenants are the tenants that dev mode creates.
func DemoTenants() []tenant.Tenant {
	return []tenant.Tenant{
		{
			ID: "acme", Name: "Acme (demo)", Domains: []string{"shop.acme.example"},
			Processors: []tenant.Binding{
				{Name: "profile"},
				{Name: "score", Settings: map[string]any{"rules": []any{
					map[string]any{
						"when":   map[string]any{"field": "visit.landing_page", "op": "contains", "value": "pricing"},
						"points": int64(10),
					},
				}}},
			},
		},
		{ID: "globex", Name: "Globex (demo)", Domains: []string{"www.globex.example"}},
	}
}

func createDemoTenants(ctx context.Context, cfg *config.Config, b *Backend) error {
	reg, err := NewRegistry()
	if err != nil {
		return err
	}
	dir, err := NewDirectory(cfg, b.Store, reg)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, t := range DemoTenants() {
		if _, err := dir.Create(ctx, &t); err != nil && !errors.Is(err, directory.ErrExists) {
			return fmt.Errorf("create demo tenant: %w", err)
		}
	}
	return nil
}
