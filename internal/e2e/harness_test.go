package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit"
)

// backends are what every end-to-end test runs on.
var backends = map[string]func(*testing.T, *config.Config) (*app.Backend, *fault.Injector){
	"twins": func(t *testing.T, _ *config.Config) (*app.Backend, *fault.Injector) {
		t.Helper()
		store := fault.Plan{fault.Aborted: 0.05, fault.LostResponse: 0.05, fault.LateApply: 0.02}
		queue := fault.Plan{
			fault.Redelivered: 0.02, fault.LeaseExpired: 0.02, fault.Reordered: 0.05,
			fault.PublishFails: 0.01, fault.PublishLost: 0.01, fault.NoAttempt: 0.1,
		}
		faults := fault.New(2, queue)
		return &app.Backend{
			Store: memstore.New(memstore.Options{Faults: fault.New(1, store)}),
			Queue: memqueue.New(memqueue.Options{Faults: faults}),
		}, faults
	},
	"emulators": func(t *testing.T, cfg *config.Config) (*app.Backend, *fault.Injector) {
		t.Helper()
		cfg.PubSub.EmulatorHost, cfg.Firestore.EmulatorHost = testkit.NeedPubSub(t), testkit.NeedFirestore(t)
		cfg.Project = testkit.UniqueID(t, "demo") // emulators keep projects apart
		b, err := app.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return b, nil
	},
}

// secrets of the test's endpoints.
const (
	tokenSecret    = "token-secret-of-at-least-24-bytes"
	standardSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	hmacSecret     = "hmac-secret-of-at-least-24-bytes"
)

// system is a whole usher, in process.
type system struct {
	cfg     *config.Config
	backend *app.Backend
	faults  *fault.Injector // of the queue; nil on the emulators
	dir     *directory.Directory
	daemon  *app.Daemon
	base    string // URL of the HTTP functions
	logs    *buffer
	stop    func() // ends the daemon and waits for it
}

// start runs a system until the test ends.
func start(
	t *testing.T, open func(*testing.T, *config.Config) (*app.Backend, *fault.Injector), more ...processor.Processor,
) *system {
	t.Helper()
	cfg, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Consumer.HealthAddr = "127.0.0.1:0"
	cfg.Tenants.Staleness, cfg.Tenants.UnknownGrace = time.Second, time.Millisecond
	cfg.PubSub.Streams = 4 // the emulator is slow with one
	cfg.Endpoints = []config.Endpoint{
		{Name: "mdb", Source: "mdb_legacy", Auth: auth(config.AuthURLToken, tokenSecret)},
		{Name: "midbound", Source: "midbound", Auth: auth(config.AuthStandardWebhooks, standardSecret)},
		{Name: "leadpipe", Source: "leadpipe", Auth: auth(config.AuthHMACSHA256, hmacSecret)},
	}
	s := &system{cfg: cfg, logs: &buffer{}}
	s.backend, s.faults = open(t, cfg)
	topology := app.Topology(cfg)
	for i := range topology.Subscriptions {
		topology.Subscriptions[i].MinBackoff = 100 * time.Millisecond // what is nacked here is to come back soon
	}
	if err := s.backend.Queue.Create(t.Context(), topology); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reg, err := app.NewRegistry(more...)
	if err != nil {
		t.Fatal(err)
	}
	if s.dir, err = app.NewDirectory(cfg, s.backend.Store, reg); err != nil {
		t.Fatal(err)
	}
	h, err := app.NewIngest(cfg, s.backend, logger)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	s.base = srv.URL
	if s.daemon, err = app.NewDaemon(cfg, s.backend, logger, more...); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	t.Cleanup(func() {
		if t.Failed() {
			tail := s.logs.String()
			t.Logf("the end of the log:\n%s", tail[max(0, len(tail)-4000):])
			byOutcome, commits := s.daemon.Stats()
			t.Logf("outcomes %v, commits %+v", byOutcome, commits)
		}
		srv.Close()
		s.stop()
		h.Close()
		s.dir.Close()
		if err := s.backend.Close(); err != nil {
			t.Errorf("close backend: %v", err)
		}
	})
	return s
}

// lanes are the subscriptions of events: the main one, then the overflow lanes.
func (s *system) lanes() (names []string) {
	for _, sub := range app.Topology(s.cfg).Subscriptions {
		if sub.Name != s.cfg.PubSub.DeadLetterSubscription {
			names = append(names, sub.Name)
		}
	}
	return names
}

// run starts the daemon.
func (s *system) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.daemon.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("daemon: %v", err)
		}
	})
}

func auth(mode config.AuthMode, secret redact.Secret) config.Auth {
	return config.Auth{Mode: mode, Secrets: []redact.Secret{secret}, Tolerance: 5 * time.Minute}
}

// endpoints are the same for the sender.
func endpoints(t *testing.T, cfg *config.Config) []simulate.Endpoint {
	t.Helper()
	out := make([]simulate.Endpoint, len(cfg.Endpoints))
	for i := range cfg.Endpoints {
		e := &cfg.Endpoints[i]
		v, err := app.NewVerifier(&e.Auth)
		if err != nil {
			t.Fatal(err)
		}
		signer, ok := v.(signature.Signer)
		if !ok {
			t.Fatalf("verifier of %s cannot sign", e.Name)
		}
		out[i] = simulate.Endpoint{Name: e.Name, Source: e.Source, Signer: signer}
	}
	return out
}

// createTenants creates tenants, trying again where the twin's faults get in the way.
func (s *system) createTenants(t *testing.T, tenants []simulate.Tenant) {
	t.Helper()
	for _, tn := range tenants {
		testkit.Eventually(t, time.Minute, func(ctx context.Context) bool {
			_, err := s.dir.Create(ctx, &tenant.Tenant{ID: tn.ID})
			return err == nil || errors.Is(err, directory.ErrExists)
		}, "tenant is created")
	}
}

// ended returns how many messages were stored, duplicates, and parked.
func (s *system) ended() (stored, duplicates, parked int) {
	byOutcome, _ := s.daemon.Stats()
	return int(byOutcome["stored"]), int(byOutcome["duplicate"]), int(byOutcome["parked"])
}

// documents lists a whole collection.
func (s *system) documents(t *testing.T, collection store.Path, err error) []store.Doc {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var all []store.Doc
	q := store.Query{Collection: collection, Limit: store.MaxLimit}
	for {
		docs, err := s.backend.Store.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, docs...)
		if len(docs) < q.Limit {
			return all
		}
		q.After = &docs[len(docs)-1]
	}
}

func (s *system) identifications(t *testing.T, id visitor.TenantID) []store.Doc {
	t.Helper()
	p, err := layout.IdentificationCollection(id)
	return s.documents(t, p, err)
}

func (s *system) visitors(t *testing.T, id visitor.TenantID) []store.Doc {
	t.Helper()
	p, err := layout.VisitorCollection(id)
	return s.documents(t, p, err)
}

// post sends one signed webhook and returns status and body.
func (s *system) post(t *testing.T, endpoint, tenantPath, id string, body []byte) (int, string) {
	t.Helper()
	for _, ep := range endpoints(t, s.cfg) {
		if ep.Name != endpoint {
			continue
		}
		w := simulate.Webhook{Endpoint: ep, Source: ep.Source, Path: "/v1/ingest/" + endpoint, ID: id, Body: body}
		if tenantPath != "" {
			w.Path += "/" + tenantPath
			w.Tenant = visitor.TenantID(tenantPath)
		}
		req, err := w.Request(t.Context(), s.base, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b.String()
	}
	t.Fatalf("no endpoint %s", endpoint)
	return 0, ""
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
