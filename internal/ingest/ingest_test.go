package ingest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/source"
)

const (
	good    = `[{"id":"1","tenant":"acme","domain":"shop.example.com","email":"ada@example.com"}]`
	unnamed = `[{"id":"1","email":"ada@example.com"}]`
)

var goodID = string(visitor.NewEventID("mdb", "acme", "1", 0))

// row is one row of the table of outcomes.
type row struct {
	name    string
	req     func() *http.Request
	failing bool // publishing fails
	status  int
	body    string
	outcome source.Outcome
	tenant  string
	reason  envelope.Reason // of the dead letter
	events  int
}

func authentic(path, body string) func() *http.Request {
	return func() *http.Request { return post(path, body) }
}

func changed(path, body string, change func(r *http.Request)) func() *http.Request {
	return func() *http.Request {
		r := post(path, body)
		change(r)
		return r
	}
}

func stranger(r *http.Request) { r.Header.Set("X-Secret", "ada@example.com") }

// rows has every outcome at least once, and every door to it.
func rows() []row {
	okBody := `{"event_id":"` + goodID + `","success":true}`
	return []row{
		{name: "accepted", req: authentic("/v1/ingest/strict", good), status: 200, body: okBody, outcome: source.Accepted, tenant: "acme", events: 1},
		{name: "tenant in the path", req: authentic("/v1/ingest/strict/acme", unnamed), status: 200, body: okBody, outcome: source.Accepted, tenant: "acme", events: 1},
		{name: "trailing slash", req: authentic("/v1/ingest/strict/", good), status: 200, body: okBody, outcome: source.Accepted, tenant: "acme", events: 1},
		{name: "under a function's name", req: authentic("/Ingest/v1/ingest/strict/acme", good), status: 200, body: okBody, outcome: source.Accepted, tenant: "acme", events: 1},
		{name: "tenant by route", req: authentic("/v1/ingest/strict", `[{"id":"1","domain":"shop.example.com"}]`), status: 200, body: okBody, outcome: source.Accepted, tenant: "acme", events: 1},
		{name: "test delivery", req: authentic("/v1/ingest/strict", `[{"test":true,"email":"ada@example.com"}]`), status: 200, body: `{"event_id":"","success":true}`, outcome: source.AcceptedTest},
		{name: "test delivery first", req: authentic("/v1/ingest/strict", `[{"test":true},{"id":"1","tenant":"acme"}]`), status: 200,
			body: `{"event_id":"` + string(visitor.NewEventID("mdb", "acme", "1", 1)) + `","success":true}`, outcome: source.Accepted, events: 1},

		{name: "no such endpoint", req: authentic("/v1/ingest/ada@example.com", good), status: 404, body: `{"error":"Not found"}`, outcome: source.NoEndpoint},
		{name: "no endpoint", req: authentic("/v1/ingest/", good), status: 404, body: `{"error":"Not found"}`, outcome: source.NoEndpoint},
		{name: "other path", req: authentic("/ada@example.com", good), status: 404, body: `{"error":"Not found"}`, outcome: source.NoEndpoint},
		{name: "path too deep", req: authentic("/v1/ingest/strict/acme/more", good), status: 404, body: `{"error":"Not found"}`, outcome: source.NoEndpoint},
		{name: "bad method", req: changed("/v1/ingest/strict", good, func(r *http.Request) { r.Method = "GET" }), status: 405, body: `{"error":"bad_method"}`, outcome: source.BadMethod},
		{name: "unauthenticated", req: changed("/v1/ingest/strict/ada@example.com", good, stranger), status: 401, body: `{"error":"unauthenticated"}`, outcome: source.Unauthenticated},
		{name: "unauthenticated, lenient", req: changed("/v1/ingest/lenient", `{`, stranger), status: 401, body: `{"error":"unauthenticated"}`, outcome: source.Unauthenticated},
		{name: "too large", req: authentic("/v1/ingest/strict", good+strings.Repeat(" ", 1<<20)), status: 413, body: `{"error":"too_large"}`, outcome: source.TooLarge},
		{name: "body breaks off", req: changed("/v1/ingest/lenient", "", func(r *http.Request) { r.Body = io.NopCloser(broken{}) }), status: 400, body: `{"error":"Body could not be read"}`, outcome: source.BadRequest},

		{name: "not JSON", req: authentic("/v1/ingest/strict", `ada@example.com`), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, reason: envelope.ReasonUnusable},
		{name: "not JSON, lenient", req: authentic("/v1/ingest/lenient", `ada@example.com`), status: 200, body: `{"received":true}`, outcome: source.Parked, reason: envelope.ReasonUnusable},
		{name: "empty", req: authentic("/v1/ingest/strict", ``), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, reason: envelope.ReasonUnusable},
		{name: "unsupported version", req: authentic("/v1/ingest/strict", `v9 ada@example.com`), status: 400, body: `{"error":"unsupported_version"}`, outcome: source.Parked, reason: envelope.ReasonUnusable},
		{name: "missing tenant", req: authentic("/v1/ingest/strict", unnamed), status: 400, body: `{"error":"missing_tenant"}`, outcome: source.Parked, reason: envelope.ReasonUnusable},
		{name: "unknown route", req: authentic("/v1/ingest/lenient", `[{"domain":"other.example.net"}]`), status: 200, body: `{"received":true}`, outcome: source.Parked, reason: envelope.ReasonUnknownTenant},
		{name: "tenant mismatch", req: authentic("/v1/ingest/strict/globex", good), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, reason: envelope.ReasonTenantMismatch},
		{name: "tenant forbidden", req: authentic("/v1/ingest/closed", good), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, tenant: "acme", reason: envelope.ReasonTenantForbidden},
		{name: "forbidden id", req: authentic("/v1/ingest/strict", `[{"id":"1","tenant":"Ada Example"}]`), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, reason: envelope.ReasonForbiddenID},
		{name: "malformed event", req: authentic("/v1/ingest/strict", `[{"id":"1","tenant":"acme","pages":201}]`), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, tenant: "acme", reason: envelope.ReasonUnusable},
		{name: "one of two records", req: authentic("/v1/ingest/strict", `[{"id":"1","tenant":"acme"},{"id":"2"}]`), status: 400, body: `{"error":"missing_tenant"}`, outcome: source.Parked, tenant: "acme", reason: envelope.ReasonUnusable, events: 1},
		{name: "too many records", req: authentic("/v1/ingest/strict", "["+strings.Repeat("{},", 1000)+"{}]"), status: 400, body: `{"error":"bad_request"}`, outcome: source.Parked, reason: envelope.ReasonTooLarge},

		{name: "publish fails", failing: true, req: authentic("/v1/ingest/strict", good), status: 503, body: `{"error":"failed"}`, outcome: source.Failed, tenant: "acme"},
		{name: "parking fails", failing: true, req: authentic("/v1/ingest/lenient", `{`), status: 503, body: `{"error":"failed"}`, outcome: source.Failed},
		{name: "finder fails", req: authentic("/v1/ingest/lenient", `[{"domain":"down.example.com"}]`), status: 503, body: `{"error":"failed"}`, outcome: source.Failed},
		{name: "panic", req: authentic("/v1/ingest/lenient", `[{"panic":"ada@example.com"}]`), status: 500, body: `{"error":"Processing failed"}`, outcome: source.Failed},
		{name: "runtime panic", req: authentic("/v1/ingest/lenient", `[{"panic":"runtime"}]`), status: 500, body: `{"error":"Processing failed"}`, outcome: source.Failed},
	}
}

// failing makes publishing fail.
func failing(o *ingest.Options) {
	o.Events, o.DeadLetters = &topic{fail: outage}, &topic{fail: outage}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tc := range rows() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if tc.failing {
				b = setup(t, failing)
			}
			w := b.do(tc.req())
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("answer %d %s, want %d %s", w.Code, w.Body, tc.status, tc.body)
			}
			lines := b.logs.lines(t, "receipt")
			if len(lines) != 1 {
				t.Fatalf("%d receipts", len(lines))
			}
			rc := lines[0]
			if rc["outcome"] != string(tc.outcome) || rc["status"] != float64(tc.status) || rc["function_execution_id"] != "x1" {
				t.Errorf("receipt %v", rc)
			}
			if tc.tenant != "" && rc["tenant_id"] != tc.tenant {
				t.Errorf("tenant of the receipt = %v", rc["tenant_id"])
			}
			if got := len(b.events.messages()); got != tc.events {
				t.Errorf("%d events published, want %d", got, tc.events)
			}
			checkParked(t, b, tc)
		})
	}
}

// checkParked holds that a request is parked once, with its reason, or not at all.
func checkParked(t *testing.T, b *bundle, tc row) {
	t.Helper()
	dead := b.dead.messages()
	if tc.reason == "" {
		if len(dead) != 0 {
			t.Errorf("%d dead letters", len(dead))
		}
		return
	}
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want one", len(dead))
	}
	d, err := envelope.DecodeDeadLetter(dead[0])
	if err != nil || d.Reason != tc.reason || d.Class != tc.reason.Class() {
		t.Errorf("dead letter %v, %v", d, err)
	}
	if got := b.logs.lines(t, "receipt")[0]["reason"]; got != string(tc.reason) {
		t.Errorf("reason of the receipt = %v", got)
	}
}

// TestReceiptsEqualRequests sends every outcome many times at once over HTTP.
func TestReceiptsEqualRequests(t *testing.T) {
	t.Parallel()
	const each = 20
	up, down := setup(t), setup(t, failing)
	servers := map[bool]*httptest.Server{false: httptest.NewServer(up.h), true: httptest.NewServer(down.h)}
	want, statuses := map[string]int{}, map[int]int{}
	var wg sync.WaitGroup
	for _, tc := range rows() {
		if tc.name == "body breaks off" { // the client itself refuses to send it
			continue
		}
		want[string(tc.outcome)] += each
		statuses[tc.status] += each
		for range each {
			wg.Go(func() { send(t, servers[tc.failing].URL, tc) })
		}
	}
	wg.Wait()
	for _, s := range servers {
		s.Close() // waits for the handlers
	}
	got, gotStatuses := map[string]int{}, map[int]int{}
	for _, l := range append(up.logs.lines(t, "receipt"), down.logs.lines(t, "receipt")...) {
		got[l["outcome"].(string)]++
		gotStatuses[int(l["status"].(float64))]++
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("receipts by outcome: %s", d)
	}
	if d := cmp.Diff(statuses, gotStatuses); d != "" {
		t.Errorf("receipts by status: %s", d)
	}
}

// send sends a row's request to a server.
func send(t *testing.T, url string, tc row) {
	t.Helper()
	in := tc.req()
	req, err := http.NewRequestWithContext(t.Context(), in.Method, url+in.URL.RequestURI(), in.Body)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header = in.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	if res.StatusCode != tc.status {
		t.Errorf("%s: status %d, want %d", tc.name, res.StatusCode, tc.status)
	}
}

func TestNothingPersonalIsLogged(t *testing.T) {
	t.Parallel()
	quoting := func(*queue.Message) error { return errors.New("cannot publish ada@example.com") }
	bundles := []*bundle{setup(t), setup(t, failing), setup(t, func(o *ingest.Options) {
		o.Events, o.DeadLetters = &topic{fail: quoting}, &topic{fail: quoting}
	})}
	for _, b := range bundles {
		for _, tc := range rows() {
			b.do(tc.req())
		}
		out := b.logs.String()
		for _, s := range personal {
			if strings.Contains(out, s) {
				t.Errorf("the log shows %q", s)
			}
		}
		if !strings.Contains(out, "ingest panicked") || strings.Count(out, `"message":"receipt"`) != len(rows()) {
			t.Error("the log is not complete: the test proves nothing")
		}
	}
}

func TestReceiptLine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(post("/v1/ingest/strict", good))
	got := b.logs.lines(t, "receipt")[0]
	if got["time"] == nil || got["latency_ms"] == nil {
		t.Errorf("receipt without time or latency: %v", got)
	}
	delete(got, "time")
	delete(got, "latency_ms")
	want := map[string]any{
		"severity": "INFO", "message": "receipt", "endpoint": "strict", "source": "mdb", "host": "shop.example.com",
		"tenant_id": "acme", "event_id": goodID, "outcome": "accepted", "status": 200.0, "bytes": float64(len(good)),
		"records": 1.0, "function_execution_id": "x1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReceiptNamesTheCause(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{code.New(code.NotFound, "publish", errors.New("no such topic")), "publish: not_found: no such topic"},
		{errors.New("cannot publish ada@example.com"), "unknown (*errors.errorString)"},
		{context.DeadlineExceeded, "canceled (context.deadlineExceededError)"},
	} {
		b := setup(t, func(o *ingest.Options) { o.Events = &topic{fail: func(*queue.Message) error { return tc.err }} })
		b.do(post("/v1/ingest/strict", good))
		if got := b.logs.lines(t, "receipt")[0]["error"]; got != tc.want {
			t.Errorf("error = %v, want %s", got, tc.want)
		}
	}
}

func TestHostsOfReceipts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"shop.example.com": "shop.example.com", "bücher.example": "bücher.example", "ada@example.com": "", "Ada Example": "",
		"Ada": "", "a.\u0000": "", "192.0.2.7": "", "192.0.2.007": "", "3221225991": "", "2001:db8::7": "", "192.0.2.7.example.com": "192.0.2.7.example.com", strings.Repeat("a.", 127): "",
	} {
		b := setup(t)
		b.do(post("/v1/ingest/strict/acme", `[{"id":"1","domain":`+quote(host)+`}]`))
		if got := b.logs.lines(t, "receipt")[0]["host"]; got != want {
			t.Errorf("host %q is logged as %q", host, got)
		}
	}
}

func TestPublishedMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(post("/v1/ingest/signed/acme", `[{"email":"ada@example.com","domain":"shop.example.com"}]`))
	m := b.events.messages()[0]
	env, err := envelope.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	ev := env.Event
	if want := visitor.NewEventID("mid", "acme", "delivery-1", 0); ev.ID != want || m.Attributes[envelope.AttrEvent] != string(want) {
		t.Errorf("id %s, want that of the verified delivery", ev.ID)
	}
	if d := cmp.Diff(visitor.Receipt{ReceivedAt: now, FunctionExecutionID: "x1", Endpoint: "signed"}, ev.Receipt); d != "" {
		t.Error(d)
	}
	if raw, err := envelope.Decompress(env.Raw); err != nil || string(raw) != `{"email":"ada@example.com","domain":"shop.example.com"}` {
		t.Errorf("raw %s, %v", raw, err)
	}
	if ev.Origin != visitor.OriginWebhook {
		t.Errorf("origin %s", ev.Origin)
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := post("/v1/ingest/signed/globex", good)
	r.Header.Set("User-Agent", strings.Repeat("x", 300))
	b.do(r)
	d, err := envelope.DecodeDeadLetter(b.dead.messages()[0])
	if err != nil {
		t.Fatal(err)
	}
	body, err := envelope.Decompress(d.Webhook.Body)
	if err != nil || string(body) != good {
		t.Errorf("body %s, %v", body, err)
	}
	d.Webhook.Body = nil
	want := &envelope.DeadLetter{
		Reason: envelope.ReasonTenantMismatch, Class: envelope.ClassTenant, Detail: "named tenants differ",
		Source: "mid", ParkedAt: now, ReceivedAt: now,
		Webhook: &envelope.ParkedWebhook{
			Endpoint: "signed", PathTenant: "globex", VerifiedID: "delivery-1", FunctionExecutionID: "x1",
			Headers: map[string]string{"Content-Type": "application/json"},
		},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}

// TestPartialFailureIsRetried has one of many records fail; the vendor's retry then completes the body under
// the same ids.
func TestPartialFailureIsRetried(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range 100 {
		records = append(records, `{"id":"`+strings.Repeat("i", i+1)+`","tenant":"acme"}`)
	}
	body := "[" + strings.Join(records, ",") + "]"
	var once sync.Once
	b := setup(t, func(o *ingest.Options) {
		o.Events.(*topic).fail = func(m *queue.Message) (err error) {
			if m.Attributes[envelope.AttrEvent] == string(visitor.NewEventID("mdb", "acme", strings.Repeat("i", 50), 49)) {
				once.Do(func() { err = outage(m) })
			}
			return err
		}
	})
	if w := b.do(post("/v1/ingest/strict", body)); w.Code != 503 {
		t.Fatalf("first try: %d", w.Code)
	}
	if w := b.do(post("/v1/ingest/strict", body)); w.Code != 200 {
		t.Fatalf("second try: %d", w.Code)
	}
	ids := map[string]bool{}
	for _, m := range b.events.messages() {
		ids[m.Attributes[envelope.AttrEvent]] = true
	}
	if len(ids) != 100 {
		t.Errorf("%d events after the retry, want 100", len(ids))
	}
}

// TestOversizedEventIsParked has an event that grows over the message limit when it is encoded.
func TestOversizedEventIsParked(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *ingest.Options) { o.MaxBody, o.PublishTimeout = 0, time.Minute })
	body := `[{"id":"1","tenant":"acme","extra":"` + strings.Repeat("<", queue.MaxMessage/6) + `"}]`
	w := b.do(post("/v1/ingest/lenient", body))
	d, err := envelope.DecodeDeadLetter(b.dead.messages()[0])
	if w.Code != 200 || err != nil || d.Reason != envelope.ReasonTooLarge {
		t.Errorf("answer %d, dead letter %v, %v", w.Code, d, err)
	}
}

// TestPublishIsBounded has a publish hang: the request fails when its time is up, and not when the vendor
// hangs up.
func TestPublishIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(o *ingest.Options) { o.Events, o.PublishTimeout = hanging{}, 3*time.Second })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		w := b.do(post("/v1/ingest/strict", good).WithContext(ctx))
		if took := time.Since(start); took != 3*time.Second || w.Code != 503 {
			t.Errorf("answer %d after %v", w.Code, took)
		}
	})
}

// hanging never acknowledges.
type hanging struct{}

func (hanging) Publish(ctx context.Context, _ *queue.Message) (string, error) {
	<-ctx.Done()
	return "", context.Cause(ctx)
}
