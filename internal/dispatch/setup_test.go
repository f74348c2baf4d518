package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/filter"
	"github.com/usherhq/usher/internal/held"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/score"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
)

func TestMain(m *testing.M) {
	// The coders are made by their first use; made within a synctest bubble they would belong to it.
	if _, err := envelope.Decompress(envelope.Compress([]byte("warm"))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var now = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

const (
	grace  = time.Minute
	window = 35 * 24 * time.Hour
)

// tenants is a directory without a store; Get may lag behind Fresh.
type tenants struct {
	mu    sync.Mutex
	known map[visitor.TenantID]*tenant.Tenant
	stale bool // Get knows nobody yet
	err   error
}

func (d *tenants) Get(ctx context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	if d.stale {
		return nil, directory.ErrNotFound
	}
	return d.Fresh(ctx, id)
}

func (d *tenants) Fresh(_ context.Context, id visitor.TenantID) (*tenant.Tenant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.known[id]
	switch {
	case d.err != nil:
		return nil, d.err
	case t == nil:
		return nil, fmt.Errorf("%w", directory.ErrNotFound)
	}
	return t, nil
}

// letters is the dead-letter topic.
type letters struct {
	mu   sync.Mutex
	err  error
	sent []*queue.Message
}

func (l *letters) Publish(_ context.Context, m *queue.Message) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return "", l.err
	}
	l.sent = append(l.sent, m)
	return "1", nil
}

// one returns the only dead letter.
func (l *letters) one(t *testing.T) *envelope.DeadLetter {
	t.Helper()
	if len(l.sent) != 1 {
		t.Fatalf("%d dead letters, want 1", len(l.sent))
	}
	d, err := envelope.DecodeDeadLetter(l.sent[0])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// logs keeps what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// lines returns the canonical lines.
func (l *logs) lines(t *testing.T) (out []map[string]any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(l.String())))
	for dec.More() {
		var m map[string]any
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == "message" {
			out = append(out, m)
		}
	}
	return out
}

// custom is a processor of the test's own.
type custom struct {
	name string
	do   func(*visitor.Event) (processor.Result, error)
}

func (c custom) Register() processor.Registration {
	return processor.Registration{Name: c.name, Version: "1.0.0", Title: c.name, Description: "A test's own."}
}

func (c custom) Configure(processor.Settings) (processor.Handler, error) {
	return processor.HandlerFunc(func(_ context.Context, ev *visitor.Event) (processor.Result, error) { return c.do(ev) }), nil
}

// committerFunc is a function as a dispatch.Committer.
type committerFunc func(ctx context.Context, it *commit.Item) error

func (f committerFunc) Add(ctx context.Context, it *commit.Item) error { return f(ctx, it) }

// holderFunc is a function as a dispatch.Holder.
type holderFunc func(ctx context.Context, ev *visitor.Event, m *queue.Message) error

func (f holderFunc) Hold(ctx context.Context, ev *visitor.Event, m *queue.Message) error {
	return f(ctx, ev, m)
}

// bench is a dispatcher with everything around it.
type bench struct {
	*dispatch.Dispatcher
	store   *memstore.Store
	tenants *tenants
	letters *letters
	logs    *logs
}

func registry(t testing.TB, more ...processor.Processor) *processor.Registry {
	t.Helper()
	reg := processor.NewRegistry()
	for _, p := range append(more, profile.Processor{}, filter.Processor{}, score.Processor{}) {
		if err := reg.Register(p); err != nil {
			t.Fatal(err)
		}
	}
	return reg
}

// setup returns a bench with tenant t1, which has the named processor of the test's own before its profile.
func setup(t testing.TB, own *custom, change ...func(*dispatch.Options)) *bench {
	t.Helper()
	b := &bench{store: memstore.New(memstore.Options{}), letters: &letters{}, logs: &logs{}}
	b.tenants = &tenants{known: map[visitor.TenantID]*tenant.Tenant{
		"t1": {ID: "t1", Status: tenant.Active}, "off": {ID: "off", Status: tenant.Disabled},
		"gone": {ID: "gone", Status: tenant.Offboarded}, "odd": {ID: "odd", Status: "odd"},
	}}
	var more []processor.Processor
	if own != nil {
		more = append(more, own)
		b.tenants.known["t1"].Processors = []tenant.Binding{{Name: own.name}, {Name: "profile"}}
	}
	o := dispatch.Options{
		Tenants: b.tenants, Registry: registry(t, more...), Committer: committer(t, b.store), DeadLetters: b.letters, Held: keeper(t, b.store),
		Resolver: resolve.New(nil), Cookbook: &resolve.Endpoint{Name: "cookbook", Adapter: mdblegacy.New()},
		Probe:  func(context.Context) error { return nil },
		Logger: slog.New(slog.NewJSONHandler(b.logs, nil)), Now: func() time.Time { return now },
		ProcessorTimeout: time.Second, PublishTimeout: time.Second, ProbeInterval: time.Second,
		UnknownGrace: grace, Window: window, MaxHold: time.Minute, CacheSize: 100, TenantConcurrency: 100, SuccessSample: 1,
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if b.Dispatcher, err = dispatch.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func keeper(t testing.TB, s store.Store) *held.Keeper {
	t.Helper()
	k, err := held.New(held.Options{
		Store: s, Now: func() time.Time { return now }, Retention: 365 * 24 * time.Hour, Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func committer(t testing.TB, s store.Store) *commit.Committer {
	t.Helper()
	c, err := commit.New(commit.Options{
		Store: s, Now: time.Now, MaxEvents: 100, MaxBytes: 1 << 20, Linger: 5 * time.Millisecond, Concurrency: 2,
		Timeout: 5 * time.Second, Shards: 2, CacheSize: 10_000, Retention: 365 * 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(id visitor.EventID, of visitor.TenantID, who string) *visitor.Event {
	return &visitor.Event{
		Schema: visitor.Schema, ID: id, Type: visitor.TypeVisitorIdentified, TenantID: of, Source: "midbound",
		Origin: visitor.OriginWebhook, IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
		Person: visitor.Person{
			FirstName: "Ada", LastName: "Exampleson", FullName: "Ada Exampleson",
			Emails: []visitor.Email{{Address: who + "@example.com"}},
		},
		Session: visitor.Session{Network: visitor.Network{IP: "192.0.2.77"}},
	}
}

// message is an event as received, published in the moment.
func message(t testing.TB, ev *visitor.Event) *queue.Message {
	t.Helper()
	m, err := envelope.Encode(ev, []byte(`{"raw":"payload"}`))
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.PublishTime, m.Attempt = "m1", now, 1
	return m
}

func good(t *testing.T) *queue.Message { t.Helper(); return message(t, event("evt_a", "t1", "ada")) }

// stored counts a tenant's identifications.
func (b *bench) stored(t *testing.T, id visitor.TenantID) int {
	t.Helper()
	docs, err := b.store.Query(t.Context(), store.Query{
		Collection: store.Path("tenants/" + string(id) + "/visitor_identifications"), Limit: store.MaxLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(docs)
}
