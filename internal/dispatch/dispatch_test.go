package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// failing is a processor that returns an error.
func failing(err error) *custom {
	return &custom{"own", func(*visitor.Event) (processor.Result, error) { return processor.Result{}, err }}
}

func effects(es ...processor.Effect) *custom {
	return &custom{"own", func(*visitor.Event) (processor.Result, error) { return processor.Result{Effects: es}, nil }}
}

func refusing(c code.Code) func(*dispatch.Options) {
	return func(o *dispatch.Options) {
		o.Committer = committerFunc(func(context.Context, *commit.Item) error { return code.New(c, "commit", nil) })
	}
}

type badEffect struct{ processor.Effect }

// verdicts are all ways a message can end without a system being away.
var verdicts = []struct {
	name    string
	own     *custom
	options func(*dispatch.Options)
	message func(*testing.T) *queue.Message
	setup   func(*bench)
	want    string // outcome
	reason  envelope.Reason
}{
	{name: "stored", want: "stored"},
	{name: "not JSON", message: raw(`{"x`), want: "parked", reason: envelope.ReasonUndecodable},
	{name: "empty", message: raw(``), want: "parked", reason: envelope.ReasonUndecodable},
	{name: "no event", message: raw(`{"event":null}`), want: "parked", reason: envelope.ReasonUndecodable},
	{name: "event without id", message: raw(`{"event":{"schema":"1.0"}}`), want: "parked", reason: envelope.ReasonUndecodable},
	{name: "unknown raw encoding", message: changed(func(m *queue.Message) {
		m.Data = []byte(strings.Replace(string(m.Data), `"raw_encoding":"zstd"`, `"raw_encoding":"lz4"`, 1))
	}), want: "parked", reason: envelope.ReasonUndecodable},
	{name: "newer schema", message: changed(func(m *queue.Message) { m.Attributes[envelope.AttrSchema] = "2.0" }), want: "nacked"},
	{name: "newer schema in the body", message: changed(func(m *queue.Message) {
		m.Data = []byte(strings.Replace(string(m.Data), `"schema":"1.0"`, `"schema":"2.0"`, 1))
	}), want: "nacked"},
	{name: "newer minor schema", message: changed(func(m *queue.Message) {
		m.Data = []byte(strings.Replace(string(m.Data), `"schema":"1.0"`, `"schema":"1.7","later":true`, 1))
		m.Attributes[envelope.AttrSchema] = "1.7"
	}), want: "stored"},
	{name: "forbidden event id", message: func(t *testing.T) *queue.Message {
		t.Helper()
		return message(t, event("evt_a/b", "t1", "ada"))
	}, want: "parked", reason: envelope.ReasonForbiddenID},
	{name: "attribute of another tenant", message: changed(func(m *queue.Message) { m.Attributes[envelope.AttrTenant] = "t2" }), want: "parked", reason: envelope.ReasonTenantMismatch},
	{name: "empty attribute", message: changed(func(m *queue.Message) { m.Attributes[envelope.AttrTenant] = "" }), want: "parked", reason: envelope.ReasonTenantMismatch},
	{name: "no attribute", message: changed(func(m *queue.Message) { delete(m.Attributes, envelope.AttrTenant) }), want: "stored"},
	{name: "older than the window", message: received(-window - time.Second), want: "parked", reason: envelope.ReasonStale},
	{name: "older than the window, allowed by an operator", message: func(t *testing.T) *queue.Message {
		t.Helper()
		m := received(-window - time.Second)(t)
		m.Attributes[envelope.AttrAllowStale] = "1"
		return m
	}, want: "stored"},
	{name: "as old as the window", message: received(-window), want: "stored"},
	{name: "unknown tenant, just published", message: of("t9", 0), want: "nacked"},
	{name: "unknown tenant, nearly believed", message: of("t9", grace-time.Second), want: "nacked"},
	{name: "unknown tenant, after grace", message: of("t9", grace), want: "parked", reason: envelope.ReasonUnknownTenant},
	{name: "known only when read afresh", setup: func(b *bench) { b.tenants.stale = true }, want: "stored"},
	{name: "tenant paused", message: of("off", 0), want: "held"},
	{name: "tenant paused, long ago", message: received(-window - time.Second), setup: func(b *bench) { b.tenants.known["t1"].Status = tenant.Disabled }, want: "held"},
	{name: "tenant paused, cookbook", message: func(*testing.T) *queue.Message { return cookbook("evt_1") }, setup: func(b *bench) {
		b.tenants.known["t1"].Status = tenant.Disabled
	}, want: "held"},
	{name: "paused and refused", message: of("off", 0), options: func(o *dispatch.Options) {
		o.Held = holderFunc(func(context.Context, *visitor.Event, *queue.Message) error {
			return code.New(code.TooLarge, "hold", nil)
		})
	}, want: "parked", reason: envelope.ReasonTooLarge},
	{name: "paused and contended", message: of("off", 0), options: func(o *dispatch.Options) {
		o.Held = holderFunc(func(context.Context, *visitor.Event, *queue.Message) error {
			return code.New(code.Conflict, "hold", nil)
		})
	}, want: "nacked"},
	{name: "tenant offboarded", message: of("gone", 0), want: "discarded_inactive"},
	{name: "tenant offboarded, stale", message: received(-window - time.Second), setup: func(b *bench) { b.tenants.known["t1"].Status = tenant.Offboarded }, want: "discarded_inactive"},
	{name: "status of a newer build", message: of("odd", 0), want: "parked", reason: envelope.ReasonTenantInactive},
	{name: "unclassified error of the directory", setup: func(b *bench) { b.tenants.err = errors.New("odd") }, want: "nacked"},
	{name: "processor this process lacks", setup: func(b *bench) {
		b.tenants.known["t1"].Processors = []tenant.Binding{{Name: "of_tomorrow"}}
	}, want: "nacked"},
	{name: "settings this process refuses", setup: func(b *bench) {
		b.tenants.known["t1"].Processors = []tenant.Binding{{Name: "profile", Settings: map[string]any{"of_tomorrow": 1}}}
	}, want: "nacked"},
	{name: "processor permanent", own: failing(processor.Permanent(errors.New("no"))), want: "parked", reason: envelope.ReasonProcessor},
	{name: "processor permanent, wrapped", own: failing(fmt.Errorf("x: %w", processor.Permanent(errors.New("no")))), want: "parked", reason: envelope.ReasonProcessor},
	{name: "processor error", own: failing(errors.New("not now")), want: "nacked"},
	{name: "processor's own outage", own: failing(code.New(code.Unavailable, "its system", nil)), want: "nacked"},
	{name: "processor says malformed", own: failing(visitor.ErrMalformed), want: "nacked"},
	{name: "processor panics", own: &custom{"own", func(*visitor.Event) (processor.Result, error) { panic("boom") }}, want: "parked", reason: envelope.ReasonProcessor},
	{name: "processor panics with nil", own: &custom{"own", func(*visitor.Event) (processor.Result, error) { panic(error(nil)) }}, want: "parked", reason: envelope.ReasonProcessor},
	{name: "bad score name", own: effects(processor.AddScore{Name: "a.b", Points: 1}), want: "parked", reason: envelope.ReasonProcessor},
	{name: "bad counter name", own: effects(processor.Count{Name: "__x__", N: 1}), want: "parked", reason: envelope.ReasonProcessor},
	{name: "bad condition", own: effects(processor.Count{Name: "x", N: 1, When: 9}), want: "parked", reason: envelope.ReasonProcessor},
	{name: "unknown effect", own: effects(badEffect{}), want: "parked", reason: envelope.ReasonProcessor},
	{name: "too many effects", own: effects(make([]processor.Effect, processor.MaxEffects+1)...), want: "parked", reason: envelope.ReasonProcessor},
	{name: "stopped without effects", own: &custom{"own", func(*visitor.Event) (processor.Result, error) { return processor.Result{Stop: true}, nil }}, want: "filtered"},
	{name: "store refuses", options: refusing(code.Invalid), want: "parked", reason: envelope.ReasonStoreRefused},
	{name: "too large", options: refusing(code.TooLarge), want: "parked", reason: envelope.ReasonTooLarge},
	{name: "conflict that got through", options: refusing(code.Conflict), want: "nacked"},
	{name: "ended", options: refusing(code.Canceled), want: "nacked"},
	{name: "unclassified", options: refusing(code.Unknown), want: "nacked"},
}

func raw(data string) func(*testing.T) *queue.Message {
	return func(*testing.T) *queue.Message {
		return &queue.Message{ID: "m1", PublishTime: now, Data: []byte(data), Attributes: map[string]string{
			envelope.AttrTenant: "t1", envelope.AttrEvent: "evt_a", envelope.AttrSource: "midbound",
		}}
	}
}

func changed(change func(*queue.Message)) func(*testing.T) *queue.Message {
	return func(t *testing.T) *queue.Message {
		t.Helper()
		m := good(t)
		change(m)
		return m
	}
}

func received(after time.Duration) func(*testing.T) *queue.Message {
	return func(t *testing.T) *queue.Message {
		t.Helper()
		ev := event("evt_a", "t1", "ada")
		ev.Receipt.ReceivedAt = now.Add(after)
		return message(t, ev)
	}
}

func of(id visitor.TenantID, age time.Duration) func(*testing.T) *queue.Message {
	return func(t *testing.T) *queue.Message {
		t.Helper()
		m := message(t, event("evt_a", id, "ada"))
		m.PublishTime = now.Add(-age)
		return m
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, tt := range verdicts {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tt.own)
			if tt.options != nil {
				b = setup(t, tt.own, tt.options)
			}
			if tt.setup != nil {
				tt.setup(b)
			}
			m := good(t)
			if tt.message != nil {
				m = tt.message(t)
			}
			want := queue.Ack
			if tt.want == "nacked" {
				want = queue.Nack
			}
			if got := b.Handle(t.Context(), m); got != want {
				t.Errorf("disposition %v, want %v; log: %s", got, want, b.logs)
			}
			if b.Stats()[tt.want] != 1 {
				t.Errorf("stats %v, want %s", b.Stats(), tt.want)
			}
			if !b.Ready() {
				t.Error("one message closed the gate")
			}
			checkLetter(t, b, m, tt.reason)
			if n := b.stored(t, "t1"); (n == 1) != (tt.want == "stored") {
				t.Errorf("%d stored", n)
			}
		})
	}
}

// checkLetter checks that a dead letter was published for the reason, with all of the message, or none.
func checkLetter(t *testing.T, b *bench, m *queue.Message, reason envelope.Reason) {
	t.Helper()
	if reason == "" {
		if len(b.letters.sent) != 0 {
			t.Errorf("parked: %+v", b.letters.one(t))
		}
		return
	}
	d := b.letters.one(t)
	data, err := envelope.Decompress(d.Message.Data)
	if err != nil || string(data) != string(m.Data) || !maps.Equal(d.Message.Attributes, m.Attributes) {
		t.Errorf("the message is not whole: %q, %v, %v", data, d.Message.Attributes, err)
	}
	if d.Reason != reason || d.Class != reason.Class() || d.Message.ID != "m1" || d.Message.Attempts != m.Attempt ||
		!d.Message.PublishTime.Equal(m.PublishTime) || !d.ParkedAt.Equal(now) || d.Detail == "" {
		t.Errorf("dead letter %+v, want reason %s", d, reason)
	}
	if d.TenantID == "" || d.Source != "midbound" || d.EventID == "" {
		t.Errorf("dead letter of nobody: %+v", d)
	}
}

func TestDeadLetterCannotBePublished(t *testing.T) {
	t.Parallel()
	b := setup(t, failing(processor.Permanent(errors.New("no"))))
	b.letters.err = code.New(code.Unavailable, "publish", nil)
	if got := b.Handle(t.Context(), good(t)); got != queue.Nack || b.Stats()["nacked"] != 1 {
		t.Errorf("disposition %v, stats %v", got, b.Stats())
	}
	b.letters.err = nil
	if got := b.Handle(t.Context(), good(t)); got != queue.Ack || len(b.letters.sent) != 1 {
		t.Errorf("later: disposition %v, %d parked", got, len(b.letters.sent))
	}
}

// TestFailingChainCommitsNothing: an earlier processor's effects are not committed without the later ones'.
func TestFailingChainCommitsNothing(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("not now"), processor.Permanent(errors.New("no"))} {
		b := setup(t, failing(err))
		b.tenants.known["t1"].Processors = []tenant.Binding{{Name: "profile"}, {Name: "own"}}
		b.Handle(t.Context(), good(t))
		if st := b.store.Stats(); st.Commits != 0 {
			t.Errorf("%v: %d commits", err, st.Commits)
		}
	}
}

func TestStopKeepsEarlierEffects(t *testing.T) {
	t.Parallel()
	later := false
	b := setup(t, &custom{"own", func(*visitor.Event) (processor.Result, error) {
		later = true
		return processor.Result{}, nil
	}})
	b.tenants.known["t1"].Processors = []tenant.Binding{
		{Name: "profile"},
		{Name: "filter", Settings: map[string]any{"conditions": []any{map[string]any{"field": "person.title", "op": "exists"}}}},
		{Name: "own"},
	}
	if got := b.Handle(t.Context(), good(t)); got != queue.Ack || b.stored(t, "t1") != 1 || later {
		t.Errorf("disposition %v, %d stored, later processor ran: %v", got, b.stored(t, "t1"), later)
	}
}

func TestDuplicate(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for range 3 {
		if got := b.Handle(t.Context(), good(t)); got != queue.Ack {
			t.Errorf("disposition %v", got)
		}
	}
	if d := cmp.Diff(map[string]int64{"stored": 1, "duplicate": 2, "filtered": 0, "parked": 0, "nacked": 0, "shed": 0, "held": 0, "discarded_inactive": 0}, b.Stats()); d != "" {
		t.Errorf("stats (-want +got):\n%s", d)
	}
}

// TestVisitorIDIsNotTakenFromTheMessage: a publisher cannot put an event under another visitor.
func TestVisitorIDIsNotTakenFromTheMessage(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ev := event("evt_a", "t1", "ada")
	ev.VisitorID = "vis_of_somebody_else"
	b.Handle(t.Context(), message(t, ev))
	docs, err := b.store.Query(t.Context(), store.Query{Collection: "tenants/t1/visitors", Limit: 10})
	if err != nil || len(docs) != 1 || docs[0].Path.ID() != string(ev.Visitor()) {
		t.Errorf("visitors %v, %v", docs, err)
	}
}

const cookbookBody = `{"id":%q,"timestamp":1793707200000,"tenant_id":"t1","page_id":"home",` +
	`"mdb_data":{"first_name":"Ada","email":"ada@example.com"},"pixel_options":{"tenant_id":"t1","page_id":"home"},` +
	`"processing_metadata":{"webhook_received_at":"2026-11-03T11:59:00Z","function_execution_id":"x1"}}`

func cookbook(id string) *queue.Message {
	return &queue.Message{
		ID: "m1", PublishTime: now, Data: fmt.Appendf(nil, cookbookBody, id),
		Attributes: map[string]string{envelope.AttrTenant: "t1", envelope.AttrEventType: visitor.TypeVisitorIdentified},
	}
}

// TestCookbook: the same webhook under two ids of a cookbook publisher, and once more through usher's own
// ingest, is one event.
func TestCookbook(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, id := range []string{"evt_1", "evt_2"} {
		if got := b.Handle(t.Context(), cookbook(id)); got != queue.Ack {
			t.Fatalf("disposition %v: %s", got, b.logs)
		}
	}
	own, err := resolve.New(nil).Webhook(t.Context(), &resolve.Endpoint{Name: "mdb", Adapter: mdblegacy.New()}, resolve.Request{
		Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: now},
	}, []byte(`{"version":"v1","data":{"first_name":"Ada","email":"ada@example.com"},"options":{"page_id":"home","tenant_id":"t1"}}`))
	if err != nil || own[0].Err != nil {
		t.Fatal(err, own[0].Err)
	}
	b.Handle(t.Context(), message(t, own[0].Event))
	if st := b.Stats(); st["stored"] != 1 || st["duplicate"] != 2 {
		t.Errorf("stats %v", st)
	}
	docs, err := b.store.Query(t.Context(), store.Query{Collection: "tenants/t1/visitor_identifications", Limit: 10})
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d records, %v", len(docs), err)
	}
	got := profile.LoadIdentification(docs[0])
	rawBody, err := envelope.Decompress(docs[0].Fields.Bytes("raw"))
	if err != nil || !strings.Contains(string(rawBody), `"version":"v1"`) {
		t.Errorf("raw %q, %v", rawBody, err)
	}
	if got.Event.SourceEventID != "evt_1" || got.Event.Origin != visitor.OriginCookbook || got.Event.Source != "mdb_legacy" ||
		got.Event.Receipt.FunctionExecutionID != "x1" || got.Event.Attribution.PageID != "home" {
		t.Errorf("event %+v", got.Event)
	}
}

func TestCookbookTenantMismatch(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	m := cookbook("evt_1")
	m.Attributes[envelope.AttrTenant] = "t2"
	if got := b.Handle(t.Context(), m); got != queue.Ack || b.letters.one(t).Reason != envelope.ReasonTenantMismatch {
		t.Errorf("disposition %v, %+v", got, b.letters.one(t))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	_, err := dispatch.New(dispatch.Options{})
	for _, want := range []string{
		"tenants", "registry", "committer", "dead letters", "resolver", "cookbook", "probe", "logger", "now",
		"held", "tenant concurrency", "processor timeout", "publish timeout", "probe interval", "unknown grace", "window", "max hold", "cache size",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}
