package deadletter_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
)

// TestMain makes the process-wide coders before any test: made within a synctest bubble they could not be used
// outside of it.
func TestMain(m *testing.M) {
	if _, err := envelope.Decompress(envelope.Compress([]byte("x"))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var now = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

const (
	retention = 31 * 24 * time.Hour
	window    = 35 * 24 * time.Hour
)

// flaky is a store whose calls can be made to fail.
type flaky struct {
	store.Store
	commit func([]store.Write) error // before the commit
	after  func([]store.Write) error // behind it
	get    func() error
	query  func() error
}

func (f *flaky) Commit(ctx context.Context, w []store.Write) error {
	if f.commit != nil {
		if err := f.commit(w); err != nil {
			return err
		}
	}
	if err := f.Store.Commit(ctx, w); err != nil {
		return err
	}
	if f.after != nil {
		return f.after(w)
	}
	return nil
}

func (f *flaky) Get(ctx context.Context, p []store.Path) ([]store.Doc, error) {
	if f.get != nil {
		if err := f.get(); err != nil {
			return nil, err
		}
	}
	return f.Store.Get(ctx, p)
}

func (f *flaky) Query(ctx context.Context, q store.Query) ([]store.Doc, error) {
	if f.query != nil {
		if err := f.query(); err != nil {
			return nil, err
		}
	}
	return f.Store.Query(ctx, q)
}

var errAway = code.New(code.Unavailable, "store", errors.New("away"))

func away() error { return errAway }

// of fails a commit whose first write is below a collection.
func of(collection string, err error) func([]store.Write) error {
	return func(w []store.Write) error {
		if strings.HasPrefix(string(w[0].Path), collection+"/") {
			return err
		}
		return nil
	}
}

// bench is a receiver with everything around it.
type bench struct {
	*deadletter.Receiver
	store *flaky
	logs  *bytes.Buffer
	now   time.Time
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{store: &flaky{Store: memstore.New(memstore.Options{})}, logs: &bytes.Buffer{}, now: now}
	var err error
	b.Receiver, err = deadletter.NewReceiver(deadletter.Options{
		Store: b.store, Logger: slog.New(slog.NewJSONHandler(b.logs, nil)), Now: func() time.Time { return b.now },
		Retention: retention, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receive has a message stored.
func (b *bench) receive(t *testing.T, m *queue.Message) {
	t.Helper()
	if b.Handle(t.Context(), m) != queue.Ack {
		t.Fatalf("dead letter was nacked: %s", b.logs)
	}
}

// park has a dead letter stored and returns its message.
func (b *bench) park(t *testing.T, d envelope.DeadLetter) *queue.Message {
	t.Helper()
	m, err := envelope.EncodeDeadLetter(&d)
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.PublishTime = "letter", b.now
	b.receive(t, m)
	return m
}

// all are the stored records, the one parked last first.
func (b *bench) all(t *testing.T, f deadletter.Filter) []deadletter.Record {
	t.Helper()
	var out []deadletter.Record
	var after deadletter.Cursor
	for {
		page, next, err := deadletter.List(t.Context(), b.store, f, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page...)
		if next == (deadletter.Cursor{}) {
			return out
		}
		after = next
	}
}

// one returns the only record.
func (b *bench) one(t *testing.T) deadletter.Record {
	t.Helper()
	list := b.all(t, deadletter.Filter{})
	if len(list) != 1 {
		t.Fatalf("%d records, want 1", len(list))
	}
	return list[0]
}

// topic keeps what is published.
type topic struct {
	mu   sync.Mutex
	err  func(*queue.Message) error
	sent []*queue.Message
}

func (p *topic) Publish(_ context.Context, m *queue.Message) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := queue.CheckMessage(m); err != nil {
		return "", err
	}
	if p.err != nil {
		if err := p.err(m); err != nil {
			return "", err
		}
	}
	p.sent = append(p.sent, m)
	return "1", nil
}

// routes finds tenants by domain, once they are known.
type routes struct {
	known map[string]visitor.TenantID
	err   error
}

func (r *routes) ByRoute(_ context.Context, rt source.Route) (visitor.TenantID, bool, error) {
	t, ok := r.known[rt.Value]
	return t, ok, r.err
}

// options redrive to a topic.
func (b *bench) options(events queue.Publisher) deadletter.RedriveOptions {
	return deadletter.RedriveOptions{
		Events: events, Resolver: resolve.New(nil), Operator: "ada",
		Endpoints: []resolve.Endpoint{{Name: "mdb", Adapter: mdblegacy.New()}},
		Cookbook:  &resolve.Endpoint{Name: "cookbook", Adapter: mdblegacy.New()},
		Window:    window, Now: func() time.Time { return b.now },
	}
}

func event(id visitor.EventID) *visitor.Event {
	return &visitor.Event{
		Schema: visitor.Schema, ID: id, Type: visitor.TypeVisitorIdentified, TenantID: "acme", Source: "midbound",
		Origin: visitor.OriginWebhook, IdentifiedAt: now.Add(-time.Hour), Receipt: visitor.Receipt{ReceivedAt: now.Add(-time.Hour)},
		Person: visitor.Person{Emails: []visitor.Email{{Address: "ada@example.com"}}},
	}
}

// parkedMessage is an event's message as dispatch parks it.
func parkedMessage(t *testing.T, id string) envelope.DeadLetter {
	t.Helper()
	m, err := envelope.Encode(event(visitor.EventID("evt_"+id)), []byte(`{"raw":"payload"}`))
	if err != nil {
		t.Fatal(err)
	}
	return envelope.DeadLetter{
		Reason: envelope.ReasonTenantInactive, Detail: "tenant is not active", TenantID: "acme", Source: "midbound",
		EventID: visitor.EventID("evt_" + id), ParkedAt: now.Add(-time.Minute), ReceivedAt: now.Add(-time.Hour),
		Message: &envelope.ParkedMessage{
			ID: id, PublishTime: now.Add(-time.Hour), Attempts: 3, Attributes: m.Attributes, Data: envelope.Compress(m.Data),
		},
	}
}

// parkedWebhook is a webhook as ingest parks it.
func parkedWebhook(body string) envelope.DeadLetter {
	return envelope.DeadLetter{
		Reason: envelope.ReasonTenantForbidden, Detail: "not a tenant of this endpoint", Source: "mdb_legacy",
		ParkedAt: now.Add(-time.Minute), ReceivedAt: now.Add(-time.Hour),
		Webhook: &envelope.ParkedWebhook{
			Endpoint: "mdb", FunctionExecutionID: "x1", Headers: map[string]string{"User-Agent": "vendor/1"},
			Body: envelope.Compress([]byte(body)),
		},
	}
}

const webhookBody = `{"version":"v1","options":{"tenant_id":"acme"},"data":{"work_email":"ada@example.com"}}`

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // never fails
	return b
}
