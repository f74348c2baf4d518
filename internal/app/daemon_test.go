package app_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/testkit"
)

func testConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Consumer.HealthAddr = "127.0.0.1:0"
	cfg.HTTP.Port = 0
	return cfg
}

// twins are memory backends with the configured topology and one tenant, acme.
func twins(t *testing.T, cfg *config.Config, o memstore.Options) *app.Backend {
	t.Helper()
	b := &app.Backend{Store: memstore.New(o), Queue: memqueue.New(memqueue.Options{})}
	if err := b.Queue.Create(t.Context(), app.Topology(cfg)); err != nil {
		t.Fatal(err)
	}
	reg, err := app.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := app.NewDirectory(cfg, b.Store, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := dir.Create(t.Context(), &tenant.Tenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func publish(t *testing.T, cfg *config.Config, b *app.Backend, n int) {
	t.Helper()
	for i := range n {
		now := time.Now().UTC()
		m, err := envelope.Encode(&visitor.Event{
			Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: "acme", Source: "leadpipe",
			ID:     visitor.NewEventID("leadpipe", "acme", "key", i),
			Origin: visitor.OriginWebhook, IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
		}, []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Queue.Publisher(cfg.PubSub.Topic).Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs a daemon and returns it and a function that stops it and returns Run's error.
func start(t *testing.T, cfg *config.Config, b *app.Backend) (*app.Daemon, func() error) {
	t.Helper()
	d, err := app.NewDaemon(cfg, b, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(cancel)
	return d, func() error { cancel(); return <-done }
}

func health(t *testing.T, d *app.Daemon, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.HealthAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestDaemonIsHealthyAndDrains(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := twins(t, cfg, memstore.Options{CommitDelay: 20 * time.Millisecond})
	d, stop := start(t, cfg, b)
	testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
		return health(t, d, "/readyz") == http.StatusOK && health(t, d, "/livez") == http.StatusOK
	}, "the daemon is ready")
	publish(t, cfg, b, 500)
	testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
		ended, _ := d.Stats()
		return ended["stored"] > 0
	}, "work has begun")
	if err := stop(); err != nil { // in the middle of it
		t.Errorf("Run: %v", err)
	}
	ended, commits := d.Stats()
	if ended["stored"] != commits.Events {
		t.Errorf("%d messages were acked as stored, %d events were committed", ended["stored"], commits.Events)
	}
	if health(t, d, "/livez") != 0 {
		t.Error("the health address is still served")
	}
}

func TestDaemonRefusesToStartWithoutItsSubscription(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := twins(t, cfg, memstore.Options{})
	cfg.PubSub.Subscription = "elsewhere"
	d, err := app.NewDaemon(cfg, b, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Run(t.Context())
	if code.Of(err) != code.NotFound || !strings.Contains(err.Error(), "elsewhere") || !strings.Contains(err.Error(), "create it") {
		t.Errorf("Run: %v", err)
	}
}

func TestDaemonNeedsItsHealthAddress(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Consumer.HealthAddr = "203.0.113.1:1" // reserved, so of no machine
	if _, err := app.NewDaemon(cfg, twins(t, cfg, memstore.Options{}), testkit.Logger(t)); err == nil ||
		!strings.Contains(err.Error(), "consumer.health_addr") {
		t.Errorf("NewDaemon: %v", err)
	}
}

// flaky fails its first calls.
type flaky struct {
	store.Store
	err  error
	left atomic.Int64
}

func (f *flaky) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	if f.left.Add(-1) >= 0 {
		return nil, f.err
	}
	return f.Store.Get(ctx, paths)
}

func TestDaemonStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		code    code.Code
		wantErr string
	}{
		{"waits while the store is away", code.Unavailable, ""},
		{"refuses a missing database", code.NotFound, "firestore database (default)"},
		{"refuses without permission", code.Denied, "cannot be used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			b := twins(t, cfg, memstore.Options{})
			f := &flaky{Store: b.Store, err: code.New(tt.code, "get", nil)}
			f.left.Store(2)
			d, stop := start(t, cfg, &app.Backend{Store: f, Queue: b.Queue})
			if tt.wantErr == "" {
				testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
					return health(t, d, "/readyz") == http.StatusOK
				}, "the daemon is ready")
			}
			err := stop()
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("Run: %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// breaking is a queue whose first receives end with an error.
type breaking struct {
	queue.Queue
	left atomic.Int64
}

func (b *breaking) Subscriber(name string, fc queue.FlowControl) queue.Subscriber {
	return breakingSubscriber{b, b.Queue.Subscriber(name, fc)}
}

type breakingSubscriber struct {
	b *breaking
	queue.Subscriber
}

func (s breakingSubscriber) Receive(ctx context.Context, h queue.Handler) error {
	if s.b.left.Add(-1) >= 0 {
		return code.New(code.Internal, "receive", errors.New("stream broke"))
	}
	return s.Subscriber.Receive(ctx, h)
}

func TestDaemonReceivesAgainAfterAnError(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := twins(t, cfg, memstore.Options{})
	q := &breaking{Queue: b.Queue}
	q.left.Store(2)
	publish(t, cfg, b, 3)
	d, stop := start(t, cfg, &app.Backend{Store: b.Store, Queue: q})
	testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
		ended, _ := d.Stats()
		return ended["stored"] == 3
	}, "messages are stored")
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestDevServesTwinsAndLink(t *testing.T) {
	t.Parallel()
	dev, err := app.NewDev(t.Context(), testConfig(t), testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- dev.Run(ctx) }()
	info := dev.Info()
	if len(info.Endpoints) != 3 || !strings.HasPrefix(info.IngestURL, "http://127.0.0.1:") {
		t.Errorf("info %+v", info)
	}
	testkit.Eventually(t, 10*time.Second, func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, info.IngestURL+"/v1/ingest/mdb", strings.NewReader("{}"))
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusUnauthorized
	}, "the functions answer")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestDaemonEndsWhileTheStoreHangs: no commit is ever answered, and Run returns all the same.
func TestDaemonEndsWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Consumer.ProcessorTimeout, cfg.Consumer.CommitTimeout = 100*time.Millisecond, 600*time.Millisecond
	cfg.Consumer.PublishTimeout, cfg.Consumer.ShutdownGrace = 100*time.Millisecond, 2*time.Second
	b := twins(t, cfg, memstore.Options{})
	f := &stuck{Store: b.Store, begun: make(chan struct{}, 1000)}
	publish(t, cfg, b, 500)
	d, stop := start(t, cfg, &app.Backend{Store: f, Queue: b.Queue})
	<-f.begun
	_ = stop() // what could not be committed is not acked, so an error is as good as none
	if ended, _ := d.Stats(); ended["stored"] != 0 {
		t.Errorf("%d messages were acked without a commit", ended["stored"])
	}
}

// stuck is a store whose commits end only with their context.
type stuck struct {
	store.Store
	begun chan struct{}
}

func (s *stuck) Commit(ctx context.Context, _ []store.Write) error {
	s.begun <- struct{}{}
	<-ctx.Done()
	return code.New(code.Unavailable, "commit", nil)
}

func TestCloseWithinGivesUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	b := &app.Backend{Store: memstore.New(memstore.Options{}), Queue: hanging{memqueue.New(memqueue.Options{}), release}}
	if err := b.CloseWithin(time.Millisecond); err == nil || !strings.Contains(err.Error(), "not closed in time") {
		t.Errorf("CloseWithin: %v", err)
	}
}

// hanging is a queue whose Close waits to be released.
type hanging struct {
	queue.Queue
	release chan struct{}
}

func (h hanging) Close() error {
	<-h.release
	return h.Queue.Close()
}
