package deadletter_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/deadletter"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source/leadpipe"
	"github.com/usherhq/usher/internal/store"
)

var parked = deadletter.Selection{Filter: deadletter.Filter{Status: deadletter.Parked}}

func (b *bench) redrive(t *testing.T, sel deadletter.Selection, o deadletter.RedriveOptions) *deadletter.Report {
	t.Helper()
	r, err := deadletter.Redrive(t.Context(), b.store, sel, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// audit returns the fields of an audit record.
func (b *bench) audit(t *testing.T, id string) store.Fields {
	t.Helper()
	docs, err := b.store.Get(t.Context(), []store.Path{store.Path("operator_audit/" + id)})
	if err != nil || !docs[0].Exists {
		t.Fatalf("no audit record %q: %v", id, err)
	}
	return docs[0].Fields
}

func TestRedrive_message(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedMessage(t, "17")
	b.park(t, d)
	events := &topic{}
	r := b.redrive(t, parked, b.options(events))
	want := &deadletter.Report{AuditID: r.AuditID, Matched: 1, Redriven: 1, Published: 1}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	plain, err := envelope.Decompress(d.Message.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*queue.Message{{Data: plain, Attributes: d.Message.Attributes}}, events.sent); diff != "" {
		t.Errorf("published -want +got\n%s", diff)
	}
	if rec := b.one(t); rec.Status != deadletter.Redriven || rec.Redrives != 1 || !rec.RedrivenAt.Equal(now) {
		t.Errorf("record %+v", rec)
	}
	a := b.audit(t, r.AuditID)
	if a.Text("action") != "redrive" || a.Text("operator") != "ada" || a.Text("outcome") != "done" || a.Int("matched") != 1 ||
		a.Int("redriven") != 1 || a.Map("filter").Text("status") != "parked" || a.Time("finished_at").IsZero() {
		t.Errorf("audit record %v", a)
	}
	// Again: nothing, unless it is asked for.
	ids := deadletter.Selection{IDs: []string{b.one(t).ID, b.one(t).ID}}
	if r := b.redrive(t, ids, b.options(events)); r.Skipped != 1 || r.Matched != 1 || len(events.sent) != 1 {
		t.Errorf("second run: %+v", r)
	}
	o := b.options(events)
	o.Again = true
	if r := b.redrive(t, ids, o); r.Redriven != 1 || len(events.sent) != 2 || b.one(t).Redrives != 2 {
		t.Errorf("run that asks for it: %+v", r)
	}
}

func TestRedrive_forwarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := forwardedMessage(t)
	b.receive(t, m)
	events := &topic{}
	b.redrive(t, parked, b.options(events))
	env, err := envelope.Decode(events.sent[0])
	if err != nil || env.Event.ID != "evt_f" {
		t.Fatalf("event %v, %v", env, err)
	}
	for k := range events.sent[0].Attributes {
		if strings.HasPrefix(k, "CloudPubSub") {
			t.Errorf("attribute %s is put back", k)
		}
	}
}

// TestRedrive_webhook: a webhook becomes the events that ingest would have made of it.
func TestRedrive_webhook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, parkedWebhook(webhookBody))
	events := &topic{}
	o := b.options(events)
	b.redrive(t, parked, o)
	env, err := envelope.Decode(events.sent[0])
	if err != nil {
		t.Fatal(err)
	}
	items, err := resolve.New(nil).Webhook(t.Context(), &o.Endpoints[0], resolve.Request{
		Origin: visitor.OriginWebhook, Receipt: visitor.Receipt{ReceivedAt: now.Add(-time.Hour), FunctionExecutionID: "x1"},
	}, []byte(webhookBody))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(items[0].Event, env.Event); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if raw, err := envelope.Decompress(env.Raw); err != nil || string(raw) != string(items[0].Raw) {
		t.Errorf("raw %s, %v", raw, err)
	}
	if b.one(t).Status != deadletter.Redriven {
		t.Error("not marked")
	}
}

// TestRedrive_cookbook: a cookbook message without times of its own keeps the receipt that it had.
func TestRedrive_cookbook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedMessage(t, "17")
	d.ReceivedAt = time.Time{}
	d.Message.Attributes = map[string]string{"tenant_id": "acme", "event_type": "visitor_identified"}
	d.Message.Data = envelope.Compress([]byte(`{"id":"a","tenant_id":"acme","mdb_data":{"work_email":"ada@example.com"}}`))
	b.park(t, d)
	events := &topic{}
	b.redrive(t, parked, b.options(events))
	env, err := envelope.Decode(events.sent[0])
	if err != nil {
		t.Fatal(err)
	}
	if !env.Event.Receipt.ReceivedAt.Equal(d.Message.PublishTime) || env.Event.SourceEventID != "a" || env.Event.Origin != visitor.OriginCookbook {
		t.Errorf("event %+v", env.Event)
	}
}

func TestRedrive_refused(t *testing.T) {
	t.Parallel()
	with := func(change func(*envelope.DeadLetter)) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			t.Helper()
			d := parkedWebhook(webhookBody)
			change(&d)
			b.park(t, d)
		}
	}
	message := func(change func(*envelope.DeadLetter)) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			t.Helper()
			d := parkedMessage(t, "17")
			change(&d)
			b.park(t, d)
		}
	}
	for _, tt := range []struct {
		name   string
		park   func(*testing.T, *bench)
		reason envelope.Reason
		detail string
	}{
		{"not a dead letter", func(t *testing.T, b *bench) { t.Helper(); b.receive(t, &queue.Message{ID: "1", Data: []byte("junk")}) },
			envelope.ReasonUndecodable, "nobody knows what it was"},
		{"stale message", message(func(d *envelope.DeadLetter) { d.ReceivedAt = now.Add(-window - 1e9) }), envelope.ReasonStale, "dedupe window"},
		{"stale webhook", with(func(d *envelope.DeadLetter) { d.ReceivedAt = now.Add(-window - 1e9) }), envelope.ReasonStale, "dedupe window"},
		{"stale by its publish time", message(func(d *envelope.DeadLetter) {
			d.ReceivedAt, d.Message.PublishTime = time.Time{}, now.Add(-window-1e9)
		}), envelope.ReasonStale, "dedupe window"},
		{"damaged", message(func(d *envelope.DeadLetter) { d.Message.Data = []byte("?") }), envelope.ReasonUndecodable, "damaged"},
		{"no message at all", message(func(d *envelope.DeadLetter) { d.Message.Data, d.Message.Attributes = nil, nil }),
			envelope.ReasonTooLarge, "does not fit"},
		{"endpoint is gone", with(func(d *envelope.DeadLetter) { d.Webhook.Endpoint = "old" }), envelope.ReasonUnusable, "not configured"},
		{"body still unusable", with(func(d *envelope.DeadLetter) { d.Webhook.Body = envelope.Compress([]byte("{}")) }), envelope.ReasonUnusable, ""},
		{"tenants differ", with(func(d *envelope.DeadLetter) { d.Webhook.PathTenant = "globex" }), envelope.ReasonTenantMismatch, ""},
		{"cookbook's tenants differ", message(func(d *envelope.DeadLetter) {
			d.Message.Attributes = map[string]string{"tenant_id": "globex"}
			d.Message.Data = envelope.Compress([]byte(`{"tenant_id":"acme","mdb_data":{}}`))
		}), envelope.ReasonTenantMismatch, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tt.park(t, b)
			events := &topic{}
			r := b.redrive(t, parked, b.options(events))
			if r.Refused != 1 || r.Redriven != 0 || len(r.Refusals) != 1 || r.Refusals[0].Reason != tt.reason ||
				!strings.Contains(r.Refusals[0].Detail, tt.detail) || r.Refusals[0].ID != b.one(t).ID {
				t.Errorf("report %+v", r)
			}
			if len(events.sent) != 0 || b.one(t).Status != deadletter.Parked {
				t.Errorf("%d published, status %s", len(events.sent), b.one(t).Status)
			}
		})
	}
}

// TestRedrive_dryRun: it says what would become of each, publishes and writes nothing, not even an audit record.
func TestRedrive_dryRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, parkedMessage(t, "17"))
	b.park(t, parkedWebhook(webhookBody))
	b.park(t, parkedWebhook(`{}`))
	o := b.options(nil)
	o.DryRun, o.Events = true, nil
	b.store.commit = func([]store.Write) error { t.Error("a dry run writes"); return nil }
	r := b.redrive(t, parked, o)
	if r.Redriven != 2 || r.Published != 2 || r.Refused != 1 || r.AuditID != "" || !r.DryRun {
		t.Errorf("report %+v", r)
	}
}

// TestRedrive_resumes: a run that breaks off is gone on with, and what it had put back is not put back again.
func TestRedrive_resumes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 50
	for i := range n {
		d := parkedMessage(t, strings.Repeat("i", i+1))
		d.ParkedAt = d.ParkedAt.Add(time.Duration(i) * time.Millisecond)
		b.park(t, d)
	}
	fails := 0
	events := &topic{err: func(*queue.Message) error {
		if fails++; fails == n/2 {
			return errAway
		}
		return nil
	}}
	var done, total int
	o := b.options(events)
	o.Progress = func(d, of int) { done, total = d, of }
	r, err := deadletter.Redrive(t.Context(), b.store, parked, o)
	if code.Of(err) != code.Unavailable || r == nil || r.Redriven == 0 || r.Redriven >= n {
		t.Fatalf("first run: %+v, %v", r, err)
	}
	if a := b.audit(t, r.AuditID); a.Text("outcome") != "broken_off" || int(a.Int("redriven")) != r.Redriven {
		t.Errorf("audit record %v of %+v", a, r)
	}
	first := len(b.all(t, deadletter.Filter{Status: deadletter.Redriven}))
	second := b.redrive(t, parked, o)
	if second.Matched != n-first || second.Redriven != n-first || done != second.Matched || total != second.Matched {
		t.Errorf("second run: %+v after %d, progress %d of %d", second, first, done, total)
	}
	ids := map[string]bool{}
	for _, m := range events.sent {
		ids[m.Attributes[envelope.AttrEvent]] = true
	}
	if len(ids) != n {
		t.Errorf("%d of %d are put back", len(ids), n)
	}
}

func TestRedrive_errors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail func(*flaky)
		want code.Code
	}{
		"cannot list":      {func(f *flaky) { f.query = away }, code.Unavailable},
		"no audit record":  {func(f *flaky) { f.commit = of("operator_audit", errAway) }, code.Unavailable},
		"cannot read":      {func(f *flaky) { f.get = away }, code.Unavailable},
		"cannot mark":      {func(f *flaky) { f.commit = of("dead_letters", code.New(code.Denied, "commit", nil)) }, code.Denied},
		"unknown to mark":  {func(f *flaky) { f.after = of("dead_letters", code.New(code.Internal, "commit", nil)) }, code.Internal},
		"conflict forever": {func(f *flaky) { f.commit = of("dead_letters", code.New(code.Conflict, "commit", nil)) }, code.Conflict},
		"audit's end":      {func(f *flaky) { f.commit = endOfAudit }, code.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.park(t, parkedMessage(t, "17"))
			tt.fail(b.store)
			if _, err := deadletter.Redrive(t.Context(), b.store, parked, b.options(&topic{})); code.Of(err) != tt.want {
				t.Errorf("Redrive = %v, want code %v", err, tt.want)
			}
		})
	}
	b := setup(t)
	if _, err := deadletter.Redrive(t.Context(), b.store, deadletter.Selection{IDs: []string{"dl_none"}}, b.options(&topic{})); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("Redrive of an unknown id = %v, want ErrNotFound", err)
	}
	_, err := deadletter.Redrive(t.Context(), b.store, parked, deadletter.RedriveOptions{Rate: -1})
	for _, want := range []string{"events: ", "resolver: ", "cookbook: ", "now: ", "window: ", "rate: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func endOfAudit(w []store.Write) error {
	if w[0].Fields.Text("outcome") == "done" {
		return code.New(code.Denied, "commit", nil)
	}
	return nil
}

// TestRedrive_routes: a webhook of a domain that was nobody's is put back once it is somebody's; while routes cannot be
// looked up nothing is refused. The records that can be put back are, beside those that cannot.
func TestRedrive_routes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := parkedWebhook(`[{"email":"ada@example.com","domain":"shop.example.com"},{"email":"bob@example.com","domain":"shop.example.org"}]`)
	d.Webhook.Endpoint = "leadpipe"
	b.park(t, d)
	finder, events := &routes{err: errAway}, &topic{}
	o := b.options(events)
	o.Resolver = resolve.New(finder)
	o.Endpoints = append(o.Endpoints, resolve.Endpoint{Name: "leadpipe", Adapter: leadpipe.New()})
	if r, err := deadletter.Redrive(t.Context(), b.store, parked, o); code.Of(err) != code.Unavailable || r.Refused != 0 {
		t.Errorf("while routes are away: %+v, %v", r, err)
	}
	finder.err, finder.known = nil, map[string]visitor.TenantID{"shop.example.com": "acme"}
	if r := b.redrive(t, parked, o); r.Refused != 1 || r.Published != 1 || r.Refusals[0].Reason != envelope.ReasonUnknownTenant {
		t.Errorf("one of two: %+v", r)
	}
	finder.known["shop.example.org"] = "globex"
	if r := b.redrive(t, parked, o); r.Refused != 0 || r.Redriven != 1 || r.Published != 2 {
		t.Errorf("both: %+v", r)
	}
	if len(events.sent) != 3 || events.sent[0].Attributes[envelope.AttrEvent] != events.sent[1].Attributes[envelope.AttrEvent] {
		t.Errorf("%d published, want the first once more under its id", len(events.sent))
	}
}

// TestRedrive_lostResponse: what was marked is marked once.
func TestRedrive_lostResponse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, parkedMessage(t, "17"))
	once := true
	b.store.after = func(w []store.Write) error {
		if strings.HasPrefix(string(w[0].Path), "dead_letters") && once {
			once = false
			return errAway
		}
		return nil
	}
	b.redrive(t, parked, b.options(&topic{}))
	if rec := b.one(t); rec.Redrives != 1 || rec.Status != deadletter.Redriven {
		t.Errorf("record %+v", rec)
	}
}

// TestRedrive_changedMeanwhile: a record that is purged or parked again while it is put back is left as it is.
func TestRedrive_changedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change store.Write
		want   int
	}{
		"purged":       {store.Write{Delete: true}, 0},
		"parked again": {store.Write{Merge: true, Fields: store.Fields{{Name: "parked_at", Value: now.Add(time.Hour)}}}, 1},
		"annotated":    {store.Write{Merge: true, Fields: store.Fields{{Name: "note", Value: "x"}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.park(t, parkedMessage(t, "17"))
			tt.change.Path = store.Path("dead_letters/" + b.one(t).ID)
			events := &topic{err: func(*queue.Message) error {
				return b.store.Commit(context.Background(), []store.Write{tt.change})
			}}
			if r := b.redrive(t, parked, b.options(events)); r.Redriven != 1 {
				t.Errorf("report %+v", r)
			}
			if got := len(b.all(t, parked.Filter)); got != tt.want {
				t.Errorf("%d records are parked, want %d", got, tt.want)
			}
		})
	}
}

// TestRedrive_rate: no more than so many a second.
func TestRedrive_rate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for i := range 21 {
			b.park(t, parkedMessage(t, strings.Repeat("i", i+1)))
		}
		o := b.options(&topic{})
		o.Rate = 10
		start := time.Now()
		b.redrive(t, parked, o)
		if took := time.Since(start); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("21 at 10 a second took %v, want 2s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o.Again, o.Rate = true, 0.1
		if r, err := deadletter.Redrive(ctx, b.store, deadletter.Selection{}, o); err == nil || r.Redriven > 1 {
			t.Errorf("run over its time: %+v, %v", r, err)
		}
	})
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, parkedWebhook(string(noise(2<<20))))
	for i := range 45 {
		b.park(t, parkedMessage(t, strings.Repeat("i", i+1)))
	}
	webhooks := deadletter.Selection{Filter: deadletter.Filter{Endpoint: "mdb", Since: now.AddDate(0, 0, -1), Until: now}}
	o := deadletter.PurgeOptions{Operator: "ada", Now: func() time.Time { return now }, DryRun: true}
	r, err := deadletter.Purge(t.Context(), b.store, webhooks, o)
	if err != nil || r.Matched != 1 || r.Purged != 0 || r.AuditID != "" || len(b.all(t, deadletter.Filter{})) != 46 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	o.DryRun = false
	id := b.all(t, webhooks.Filter)[0].ID
	r, err = deadletter.Purge(t.Context(), b.store, webhooks, o)
	if err != nil || r.Purged != 1 {
		t.Fatalf("purge: %+v, %v", r, err)
	}
	a := b.audit(t, r.AuditID)
	if a.Text("action") != "purge" || a.Int("purged") != 1 || a.Map("filter").Time("until") != now || a.Text("outcome") != "done" {
		t.Errorf("audit record %v", a)
	}
	parts, err := b.store.Query(t.Context(), store.Query{Collection: store.Path("dead_letters/" + id + "/payload_parts"), Limit: 10})
	if err != nil || len(parts) != 0 {
		t.Errorf("%d parts are left, %v", len(parts), err)
	}
	n := 0
	b.store.commit = func([]store.Write) error { // one failure that can be tried again, later one that cannot
		if n++; n == 2 {
			return errAway
		} else if n == 5 {
			return code.New(code.Denied, "commit", nil)
		}
		return nil
	}
	r, err = deadletter.Purge(t.Context(), b.store, deadletter.Selection{}, o)
	if code.Of(err) != code.Denied || r.Purged != 40 || len(b.all(t, deadletter.Filter{})) != 5 {
		t.Errorf("purge that breaks off: %+v, %v", r, err)
	}
	if a := b.audit(t, r.AuditID); a.Text("outcome") != "broken_off" || a.Int("purged") != 40 {
		t.Errorf("audit record %v", a)
	}
}

func TestPurge_errors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, parkedMessage(t, "17"))
	o := deadletter.PurgeOptions{Now: func() time.Time { return now }}
	if _, err := deadletter.Purge(t.Context(), b.store, deadletter.Selection{}, deadletter.PurgeOptions{}); err == nil {
		t.Error("purge without a clock")
	}
	if _, err := deadletter.Purge(t.Context(), b.store, deadletter.Selection{IDs: []string{"dl_none"}}, o); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("unknown id: %v", err)
	}
	b.store.commit = of("operator_audit", code.New(code.Denied, "commit", nil))
	if _, err := deadletter.Purge(t.Context(), b.store, deadletter.Selection{}, o); code.Of(err) != code.Denied {
		t.Errorf("no audit record: %v", err)
	}
	b.one(t) // what is not on record is not done
	b.store.commit, b.store.get = nil, away
	if _, err := deadletter.Purge(t.Context(), b.store, deadletter.Selection{}, o); code.Of(err) != code.Unavailable {
		t.Errorf("cannot read: %v", err)
	}
}
