package deadletter_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

var ignoreHidden = cmpopts.IgnoreUnexported(deadletter.Record{})

func TestReceiver_message(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedMessage(t, "17")
	b.park(t, d)
	got := b.one(t)
	want := deadletter.Record{
		ID: got.ID, Kind: deadletter.KindMessage, Status: deadletter.Parked, Reason: envelope.ReasonTenantInactive,
		Class: envelope.ClassTenant, Detail: "tenant is not active", TenantID: "acme", Source: "midbound", EventID: "evt_17",
		ParkedAt: d.ParkedAt, ExpireAt: d.ParkedAt.Add(retention), MessageID: "17", ReceivedAt: d.ReceivedAt,
		PublishedAt: d.Message.PublishTime, Attempts: 3, Attributes: d.Message.Attributes, PayloadBytes: len(d.Message.Data),
	}
	if diff := cmp.Diff(want, got, ignoreHidden); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !strings.HasPrefix(got.ID, "dl_") || len(got.ID) != 35 {
		t.Errorf("id %q", got.ID)
	}
	payload, err := deadletter.Payload(t.Context(), b.store, &got)
	if plain, _ := envelope.Decompress(d.Message.Data); err != nil || !bytes.Equal(payload, plain) {
		t.Errorf("payload %s, %v", payload, err)
	}
}

func TestReceiver_webhook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedWebhook(webhookBody)
	d.Webhook.PathTenant, d.Webhook.VerifiedID = "acme", "msg_1"
	b.park(t, d)
	got := b.one(t)
	want := deadletter.Record{
		ID: got.ID, Kind: deadletter.KindWebhook, Status: deadletter.Parked, Reason: envelope.ReasonTenantForbidden,
		Class: envelope.ClassTenant, Detail: d.Detail, Source: "mdb_legacy", ParkedAt: d.ParkedAt, ExpireAt: d.ParkedAt.Add(retention),
		ReceivedAt: d.ReceivedAt, Endpoint: "mdb", PathTenant: "acme", VerifiedID: "msg_1", FunctionExecutionID: "x1",
		Attributes: map[string]string{"User-Agent": "vendor/1"}, PayloadBytes: len(d.Webhook.Body),
	}
	if diff := cmp.Diff(want, got, ignoreHidden); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func forwardedMessage(t *testing.T) *queue.Message {
	t.Helper()
	m, err := envelope.Encode(event("evt_f"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.PublishTime = "new", now
	m.Attributes["CloudPubSubDeadLetterSourceSubscription"] = "visitor-identification-subscription"
	m.Attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = "100"
	m.Attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = "2026-11-03T10:00:00.123+00:00"
	return m
}

func TestReceiver_forwarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := forwardedMessage(t)
	b.receive(t, m)
	m.ID = "forwarded once more"
	b.receive(t, m)
	got := b.one(t)
	if got.Reason != deadletter.ReasonForwarded || got.Class != envelope.ClassPipeline || got.Attempts != 100 ||
		got.TenantID != "acme" || got.EventID != "evt_f" || !got.ReceivedAt.Equal(now.Add(-time.Hour)) ||
		!got.PublishedAt.Equal(time.Date(2026, 11, 3, 10, 0, 0, 123e6, time.UTC)) || !got.ParkedAt.Equal(now) {
		t.Errorf("record %+v", got)
	}
	if len(got.Attributes) != 5 || got.Attributes["tenant_id"] != "acme" {
		t.Errorf("attributes %v, want those of the message alone", got.Attributes)
	}
	// Of what cannot be decoded the attributes are all that is known.
	m.Data, m.Attributes["tenant_id"] = []byte("?"), "globex"
	b.receive(t, m)
	if got := b.all(t, deadletter.Filter{Tenant: "globex"}); len(got) != 1 || !got[0].ReceivedAt.IsZero() {
		t.Errorf("records %+v", got)
	}
}

// TestReceiver_forwardedFromAnOverflowLane: the record is of the message before it was shed.
func TestReceiver_forwardedFromAnOverflowLane(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := forwardedMessage(t)
	published := now.Add(-2 * time.Hour)
	m.Attributes = envelope.Shed(&queue.Message{ID: "first", PublishTime: published, Attempt: 3, Attributes: m.Attributes}, "messages").Attributes
	b.receive(t, m)
	got := b.one(t)
	if got.Reason != deadletter.ReasonForwarded || got.Attempts != 103 || got.MessageID != "first" || !got.PublishedAt.Equal(published) {
		t.Errorf("record %+v", got)
	}
	if len(got.Attributes) != 5 || got.Attributes["tenant_id"] != "acme" {
		t.Errorf("attributes %v: what is redriven with these could never be shed", got.Attributes)
	}
}

func TestReceiver_undecodable(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{"junk": "ada@example.com", "neither message nor webhook": `{"reason":"stale"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := &queue.Message{ID: "m1", PublishTime: now.Add(-time.Hour), Data: []byte(data), Attributes: map[string]string{"k": "v"}}
			b.receive(t, m)
			b.receive(t, m)
			got := b.one(t)
			if got.Kind != deadletter.KindUnknown || got.Reason != envelope.ReasonUndecodable || got.Class != envelope.ClassPipeline ||
				got.MessageID != "m1" || got.Attributes["k"] != "v" || !got.ParkedAt.Equal(m.PublishTime) {
				t.Errorf("record %+v", got)
			}
			if p, err := deadletter.Payload(t.Context(), b.store, &got); err != nil || string(p) != data {
				t.Errorf("payload %q, %v", p, err)
			}
			if strings.Contains(b.logs.String(), "ada@") {
				t.Error("the log quotes the message")
			}
		})
	}
}

// TestReceiver_identity: what is one dead letter is one record, and what is another one is not.
func TestReceiver_identity(t *testing.T) {
	t.Parallel()
	message := func(change func(*envelope.DeadLetter)) envelope.DeadLetter {
		d := parkedMessage(t, "17")
		change(&d)
		return d
	}
	webhook := func(change func(*envelope.DeadLetter)) envelope.DeadLetter {
		d := parkedWebhook(webhookBody)
		change(&d)
		return d
	}
	for _, tt := range []struct {
		name string
		same bool
		a, b envelope.DeadLetter
	}{
		{"message parked twice", true, parkedMessage(t, "17"), message(func(d *envelope.DeadLetter) {
			d.ParkedAt, d.Reason, d.Message.Attempts = now, envelope.ReasonPanic, 9
		})},
		{"another message", false, parkedMessage(t, "17"), parkedMessage(t, "18")},
		{"message of another topic", false, parkedMessage(t, "17"), message(func(d *envelope.DeadLetter) { d.Message.PublishTime = now })},
		{"webhook repeated by its vendor", true, parkedWebhook(webhookBody), webhook(func(d *envelope.DeadLetter) {
			d.ReceivedAt, d.ParkedAt, d.Webhook.FunctionExecutionID = d.ReceivedAt.Add(time.Minute), now, "x2"
		})},
		{"another day", false, parkedWebhook(webhookBody), webhook(func(d *envelope.DeadLetter) { d.ReceivedAt = now.AddDate(0, 0, -1) })},
		{"another endpoint", false, parkedWebhook(webhookBody), webhook(func(d *envelope.DeadLetter) { d.Webhook.Endpoint = "b" })},
		{"another tenant in the URL", false, parkedWebhook(webhookBody), webhook(func(d *envelope.DeadLetter) { d.Webhook.PathTenant = "b" })},
		{"another delivery", false, parkedWebhook(webhookBody), webhook(func(d *envelope.DeadLetter) { d.Webhook.VerifiedID = "b" })},
		{"another body", false, parkedWebhook(webhookBody), parkedWebhook("{}")},
		{"damaged bodies", false, webhook(func(d *envelope.DeadLetter) { d.Webhook.Body = []byte("a") }),
			webhook(func(d *envelope.DeadLetter) { d.Webhook.Body = []byte("b") })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.park(t, tt.a)
			b.park(t, tt.b)
			want := 2
			if tt.same {
				want = 1
			}
			if got := len(b.all(t, deadletter.Filter{})); got != want {
				t.Errorf("%d records, want %d", got, want)
			}
		})
	}
}

// TestReceiver_large: a payload over the record's limit is in parts, the last part included.
func TestReceiver_large(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ bytes, parts int }{
		"in the record": {60 << 10, 0}, "one part": {100 << 10, 1}, "five parts": {4 << 20, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			body := noise(tt.bytes)
			d := parkedWebhook(string(body))
			b.park(t, d)
			got := b.one(t)
			if got.PayloadParts != tt.parts {
				t.Errorf("%d parts, want %d", got.PayloadParts, tt.parts)
			}
			if p, err := deadletter.Payload(t.Context(), b.store, &got); err != nil || !bytes.Equal(p, body) {
				t.Errorf("%d bytes, %v, want the body's %d", len(p), err, len(body))
			}
		})
	}
}

// TestReceiver_partsFirst: a record is never seen without its payload.
func TestReceiver_partsFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := envelope.EncodeDeadLetter(new(parkedWebhook(string(noise(2 << 20)))))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	b.store.commit = func([]store.Write) error {
		if n++; n == 3 {
			return errAway
		}
		return nil
	}
	if b.Handle(t.Context(), m) != queue.Nack {
		t.Fatal("acked without its payload")
	}
	if got := b.all(t, deadletter.Filter{}); len(got) != 0 {
		t.Fatalf("%d records", len(got))
	}
	b.receive(t, m)
	b.one(t)
}

func TestReceiver_reopened(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedMessage(t, "17")
	b.park(t, d)
	if _, err := deadletter.Redrive(t.Context(), b.store, deadletter.Selection{}, b.options(&topic{})); err != nil {
		t.Fatal(err)
	}
	b.park(t, d) // delivered once more: it was redriven since it was parked
	if got := b.one(t); got.Status != deadletter.Redriven {
		t.Fatalf("status %s after a redelivery, want redriven", got.Status)
	}
	b.now = now.Add(time.Hour)
	d.ParkedAt, d.Reason = b.now, envelope.ReasonProcessor
	b.store.commit = onceConflict()
	b.park(t, d)
	got := b.one(t)
	if got.Status != deadletter.Parked || got.Reason != envelope.ReasonProcessor || got.Redrives != 1 ||
		!got.ParkedAt.Equal(d.ParkedAt) || !got.ExpireAt.Equal(d.ParkedAt.Add(retention)) {
		t.Errorf("record %+v, want it parked again", got)
	}
	if !strings.Contains(b.logs.String(), `"outcome":"reopened"`) {
		t.Error("the log does not tell")
	}
}

// onceConflict fails the first commit with a version.
func onceConflict() func([]store.Write) error {
	struck := false
	return func(w []store.Write) error {
		if !w[0].IfVersion.IsZero() && !struck {
			struck = true
			return code.New(code.Conflict, "commit", nil)
		}
		return nil
	}
}

func TestReceiver_nacks(t *testing.T) {
	t.Parallel()
	conflict := func([]store.Write) error { return code.New(code.Conflict, "commit", nil) }
	for name, fail := range map[string]func(*flaky){
		"record not written":  func(f *flaky) { f.commit = of("dead_letters", errAway) },
		"denied":              func(f *flaky) { f.commit = of("dead_letters", code.New(code.Denied, "commit", nil)) },
		"conflict for ever":   func(f *flaky) { f.commit = conflict },
		"cannot be read":      func(f *flaky) { f.commit, f.get = conflict, away },
		"response lost":       func(f *flaky) { f.after = of("dead_letters", errAway) },
		"refused in any form": func(f *flaky) { f.commit = of("dead_letters", code.New(code.Invalid, "commit", nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := b.park(t, parkedMessage(t, "1"))
			m2, err := envelope.EncodeDeadLetter(new(parkedMessage(t, "2")))
			if err != nil {
				t.Fatal(err)
			}
			fail(b.store)
			if b.Handle(t.Context(), m2) != queue.Nack {
				t.Error("acked")
			}
			if !strings.Contains(b.logs.String(), `"outcome":"nacked"`) || strings.Contains(b.logs.String(), "ada@") {
				t.Errorf("log %s", b.logs)
			}
			*b.store = flaky{Store: b.store.Store}
			b.receive(t, m2) // the store is back
			b.receive(t, m)
			if got := b.all(t, deadletter.Filter{}); len(got) != 2 {
				t.Errorf("%d records, want 2", len(got))
			}
		})
	}
}

// TestReceiver_reopenFails: an outage in the moment of opening again gives the message back.
func TestReceiver_reopenFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedMessage(t, "17")
	b.park(t, d)
	if _, err := deadletter.Redrive(t.Context(), b.store, deadletter.Selection{}, b.options(&topic{})); err != nil {
		t.Fatal(err)
	}
	b.now = now.Add(time.Hour)
	d.ParkedAt = b.now
	m, err := envelope.EncodeDeadLetter(&d)
	if err != nil {
		t.Fatal(err)
	}
	b.store.commit = func(w []store.Write) error {
		if !w[0].IfVersion.IsZero() {
			return errAway
		}
		return nil
	}
	if b.Handle(t.Context(), m) != queue.Nack {
		t.Error("acked")
	}
}

// TestReceiver_refusedRecord: what the store takes in no form of ours is kept bare.
func TestReceiver_refusedRecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := 0
	b.store.commit = func([]store.Write) error {
		if n++; n == 1 {
			return code.New(code.TooLarge, "commit", nil)
		}
		return nil
	}
	b.park(t, parkedMessage(t, "17"))
	if got := b.one(t); got.Kind != deadletter.KindUnknown || got.Detail != "its record was refused by the store" || got.Attributes != nil {
		t.Errorf("record %+v", got)
	}
}

// TestReceiver_hostile: whatever was parked can be stored: texts without bounds, impossible times, odd attributes.
func TestReceiver_hostile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("ü", 1<<20)
	attributes := map[string]string{"__name__": "x", "a/b": "", ".": "y"}
	for i := range 90 {
		attributes[strings.Repeat("k", 200)+string(rune('0'+i))] = strings.Repeat("v", 1000)
	}
	d := envelope.DeadLetter{
		Reason: envelope.Reason(long), Detail: long, TenantID: visitor.TenantID(long), Source: long, EventID: visitor.EventID(long),
		ParkedAt: now.AddDate(1000, 0, 0), ReceivedAt: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		Message: &envelope.ParkedMessage{ID: long, Attributes: attributes, Attempts: -1, Data: noise(60 << 10)},
	}
	b.park(t, d)
	got := b.one(t)
	if got.Kind != deadletter.KindMessage || len(got.Detail) != store.MaxIndexed || !got.ParkedAt.Equal(now) || !got.ReceivedAt.IsZero() {
		t.Errorf("kind %s, %d bytes of detail, parked at %v", got.Kind, len(got.Detail), got.ParkedAt)
	}
	if diff := cmp.Diff(attributes, got.Attributes); diff != "" {
		t.Errorf("attributes -want +got\n%s", diff)
	}
	if _, err := deadletter.Payload(t.Context(), b.store, &got); !errors.Is(err, deadletter.ErrPayload) {
		t.Errorf("payload that is not compressed: %v, want ErrPayload", err)
	}
	b.park(t, envelope.DeadLetter{Reason: "x", Message: &envelope.ParkedMessage{ID: "2"}}) // says no time at all
	if list := b.all(t, deadletter.Filter{Reason: "x"}); len(list) != 1 || !list[0].ParkedAt.Equal(now) {
		t.Errorf("records %+v", list)
	}
}

func TestNewReceiver_errors(t *testing.T) {
	t.Parallel()
	_, err := deadletter.NewReceiver(deadletter.Options{})
	for _, want := range []string{"store: required", "logger: required", "now: required", "retention: ", "timeout: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 20 {
		d := parkedMessage(t, strings.Repeat("i", i+1))
		d.ParkedAt = now.Add(-time.Duration(i) * time.Hour)
		d.Message.PublishTime = d.ParkedAt
		if i%2 == 1 {
			d.TenantID, d.Source, d.Reason = "globex", "leadpipe", envelope.ReasonStale
		}
		b.park(t, d)
	}
	w := parkedWebhook(webhookBody)
	w.ParkedAt = now.Add(-30 * time.Hour)
	b.park(t, w)
	hours := func(from, to, step int) (out []int) {
		for i := from; i < to; i += step {
			out = append(out, i)
		}
		return out
	}
	for _, tt := range []struct {
		name string
		f    deadletter.Filter
		want []int
	}{
		{"all", deadletter.Filter{}, append(hours(0, 20, 1), 30)},
		{"tenant", deadletter.Filter{Tenant: "globex"}, hours(1, 20, 2)},
		{"nobody", deadletter.Filter{Tenant: "initech"}, nil},
		{"tenant and others", deadletter.Filter{Tenant: "acme", Source: "midbound", Class: envelope.ClassTenant, Status: deadletter.Parked}, hours(0, 20, 2)},
		{"tenant and none", deadletter.Filter{Tenant: "acme", Source: "leadpipe"}, nil},
		{"class", deadletter.Filter{Class: envelope.ClassPipeline}, hours(1, 20, 2)},
		{"endpoint", deadletter.Filter{Endpoint: "mdb"}, []int{30}},
		{"status", deadletter.Filter{Status: deadletter.Redriven}, nil},
		{"since", deadletter.Filter{Since: now.Add(-2 * time.Hour)}, hours(0, 3, 1)},
		{"until", deadletter.Filter{Until: now.Add(-17 * time.Hour)}, []int{18, 19, 30}},
		{"between", deadletter.Filter{Since: now.Add(-9 * time.Hour), Until: now.Add(-3 * time.Hour), Reason: envelope.ReasonStale}, []int{5, 7, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []int
			for _, r := range b.all(t, tt.f) {
				got = append(got, int(now.Sub(r.ParkedAt).Hours()))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("parked hours ago %v, want %v", got, tt.want)
			}
		})
	}
}

func TestQuery_errors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, parkedWebhook(string(noise(1<<20))))
	rec := b.one(t)
	if _, _, err := deadletter.List(t.Context(), b.store, deadletter.Filter{}, deadletter.Cursor{ParkedAt: now, ID: "a/b"}, 1); code.Of(err) != code.Invalid {
		t.Errorf("List behind a forbidden id = %v", err)
	}
	for _, id := range []string{"dl_none", "a/b", ""} {
		if _, err := deadletter.Get(t.Context(), b.store, id); !errors.Is(err, deadletter.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want ErrNotFound", id, err)
		}
	}
	b.store.get, b.store.query = away, away
	if _, _, err := deadletter.List(t.Context(), b.store, deadletter.Filter{}, deadletter.Cursor{}, 1); code.Of(err) != code.Unavailable {
		t.Errorf("List = %v", err)
	}
	if _, err := deadletter.Get(t.Context(), b.store, rec.ID); code.Of(err) != code.Unavailable {
		t.Errorf("Get = %v", err)
	}
	if _, err := deadletter.Payload(t.Context(), b.store, &rec); code.Of(err) != code.Unavailable {
		t.Errorf("Payload = %v", err)
	}
	b.store.get = nil
	part := store.Path("dead_letters/" + rec.ID + "/payload_parts/0001")
	if err := b.store.Commit(t.Context(), []store.Write{{Path: part, Delete: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := deadletter.Payload(t.Context(), b.store, &rec); !errors.Is(err, deadletter.ErrPayload) {
		t.Errorf("Payload without a part = %v, want ErrPayload", err)
	}
}
