package ingest_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/leadpipe"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/source/midbound"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// realSource is one real source with its scheme.
type realSource struct {
	adapter  source.Adapter
	verifier interface {
		signature.Verifier
		signature.Signer
	}
	good    string            // a body that is accepted
	refused map[string]string // bodies that are parked, by what is wrong
}

func realSources(t testing.TB) map[string]realSource {
	t.Helper()
	secret := signature.Secrets{redact.Secret("whsec_" + strings.Repeat("c2VjcmV0", 5))}
	token, err := signature.NewURLToken(secret)
	if err != nil {
		t.Fatal(err)
	}
	standard, err := signature.NewStandard(secret, 0)
	if err != nil {
		t.Fatal(err)
	}
	hex, err := signature.NewHMACHex("X-Webhook-Signature", secret)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]realSource{
		"mdb_legacy": {mdblegacy.New(), token, `{"version":"v1","options":{"tenant_id":"acme","page_id":"home"},"data":{"email":"ada@example.com"}}`,
			map[string]string{
				"version":   `{"version":"v2","options":{"tenant_id":"acme"},"data":{}}`,
				"tenant":    `{"version":"v1","options":{},"data":{}}`,
				"json":      `{"version":`,
				"tenant id": `{"version":"v1","options":{"tenant_id":"a/b"},"data":{}}`,
			}},
		"midbound": {midbound.New(), standard, `{"id":"evt_1","type":"identity.resolved","created":1772600767000,"data":{"session":{"tenant":"acme"}}}`,
			map[string]string{
				"type":  `{"id":"evt_1","type":"identity.forgotten","created":1772600767000,"data":{}}`,
				"route": `{"id":"evt_1","type":"identity.resolved","created":1772600767000,"data":{"attribution":{"pixelId":"px"}}}`,
			}},
		"leadpipe": {leadpipe.New(), hex, `{"domain":"shop.example.com","email":"ada@example.com"}`,
			map[string]string{
				"domain": `{"domain":"other.example.net","email":"ada@example.com"}`,
				"json":   `ada@example.com`,
				"list":   `[]`,
			}},
	}
}

// realSetup has an endpoint per real source.
func realSetup(t testing.TB, change ...func(*ingest.Options)) *bundle {
	t.Helper()
	return setup(t, append([]func(*ingest.Options){func(o *ingest.Options) {
		o.Endpoints = nil
		for name, r := range realSources(t) {
			o.Endpoints = append(o.Endpoints, ingest.Endpoint{Endpoint: resolve.Endpoint{Name: name, Adapter: r.adapter}, Verifier: r.verifier})
		}
	}}, change...)...)
}

// signed makes the request that the source's vendor would send.
func signed(t testing.TB, name string, r realSource, body string) *http.Request {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/v1/ingest/"+name, strings.NewReader(body))
	query := req.URL.Query()
	if err := r.verifier.Sign(&signature.Request{Header: req.Header, Query: query, Body: []byte(body), Endpoint: name, Now: now}, "msg_1"); err != nil {
		t.Fatal(err)
	}
	req.URL.RawQuery = query.Encode()
	return req
}

// TestRealReplies holds what each vendor hears, for every outcome, to a golden file.
func TestRealReplies(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	up, down := realSetup(t), realSetup(t, failing)
	for _, name := range []string{"mdb_legacy", "midbound", "leadpipe"} {
		r := realSources(t)[name]
		say := func(what string, b *bundle, req *http.Request) {
			w := b.do(req)
			fmt.Fprintf(&out, "%s, %s: %d %s\n", name, what, w.Code, w.Body)
		}
		say("good", up, signed(t, name, r, r.good))
		say("down", down, signed(t, name, r, r.good))
		for _, what := range []string{"version", "tenant", "tenant id", "type", "route", "domain", "json", "list"} {
			if body, ok := r.refused[what]; ok {
				say("bad "+what, up, signed(t, name, r, body))
				say("bad "+what+" while down", down, signed(t, name, r, body))
			}
		}
		get := signed(t, name, r, r.good)
		get.Method = http.MethodGet
		say("GET", up, get)
		say("too large", up, signed(t, name, r, strings.Repeat(" ", 1<<20)+r.good))
	}
	golden := filepath.Join("testdata", "replies.golden")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Error(d)
	}
}

// TestUnauthenticated holds that every source answers 401 to whatever is not authentic, be it good, bad or empty,
// and that nothing of it is kept.
func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	b := realSetup(t)
	for name, r := range realSources(t) {
		bodies := []string{r.good, "", "{", "null"}
		for _, body := range r.refused {
			bodies = append(bodies, body)
		}
		for _, body := range bodies {
			for what, change := range map[string]func(req *http.Request){
				"unsigned":            func(req *http.Request) { req.Header, req.URL.RawQuery = http.Header{}, "" },
				"for another tenant":  func(req *http.Request) { req.URL.Path += "/globex"; req.Header = http.Header{} },
				"of another endpoint": func(req *http.Request) { req.URL.Path = "/v1/ingest/" + another(name) },
			} {
				req := signed(t, name, r, body)
				change(req)
				if w := b.do(req); w.Code != http.StatusUnauthorized {
					t.Errorf("%s, %s: %d %s", name, what, w.Code, w.Body)
				}
			}
		}
	}
	if n := len(b.events.messages()) + len(b.dead.messages()); n != 0 {
		t.Errorf("%d messages of strangers", n)
	}
}

func another(name string) string {
	if name == "midbound" {
		return "leadpipe"
	}
	return "midbound"
}

// TestFunctionAndCookbookAgree sends one webhook through the function and through two cookbook publishers at
// once: one event id.
func TestFunctionAndCookbookAgree(t *testing.T) {
	t.Parallel()
	const (
		options = `{"tenant_id":"acme","page_id":"home","timestamp":1772600767000}`
		data    = `{"email":"ada@example.com","n":1.5,"name":"Zoë \u0130 <b>"}`
	)
	b := realSetup(t)
	r := realSources(t)["mdb_legacy"]
	if w := b.do(signed(t, "mdb_legacy", r, ` {"data": `+data+`, "options": `+options+`, "version": "v1"}`)); w.Code != 200 {
		t.Fatalf("webhook: %d %s", w.Code, w.Body)
	}
	env, err := envelope.Decode(b.events.messages()[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"evt_1772600767000_aaa", "evt_1772600799000_bbb"} {
		ev, _, err := resolve.New(nil).Cookbook(t.Context(), &resolve.Endpoint{Name: "cookbook", Adapter: mdblegacy.New()}, &queue.Message{
			PublishTime: now, Attributes: map[string]string{envelope.AttrTenant: "acme"},
			Data: []byte(`{"id":"` + id + `","tenant_id":"acme","mdb_data":` + data + `,"pixel_options":` + options + `}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		if ev.ID != env.Event.ID || ev.VisitorID != env.Event.VisitorID || ev.SourceEventID != id {
			t.Errorf("cookbook %s gives event %s, the function %s", id, ev.ID, env.Event.ID)
		}
	}
}

// TestSuccessMeansPublished has vendors repeat their webhooks, as they do, until a queue that refuses publishes
// and loses acknowledgements has let them succeed: every one of them is in the topic then.
func TestSuccessMeansPublished(t *testing.T) {
	t.Parallel()
	const webhooks = 200
	q := memqueue.New(memqueue.Options{Faults: fault.New(1, fault.Plan{fault.PublishFails: 0.3, fault.PublishLost: 0.2})})
	if err := q.Create(t.Context(), queue.Topology{
		Topics:        []string{"events", "dead"},
		Subscriptions: []queue.SubscriptionSpec{{Name: "sub", Topic: "events", AckDeadline: 10 * time.Second}},
	}); err != nil {
		t.Fatal(err)
	}
	b := realSetup(t, func(o *ingest.Options) { o.Events, o.DeadLetters = q.Publisher("events"), q.Publisher("dead") })
	r := realSources(t)["midbound"]
	var wg sync.WaitGroup
	missing := map[visitor.EventID]bool{}
	for i := range webhooks {
		id := fmt.Sprintf("evt_%d", i)
		missing[visitor.NewEventID("midbound", "acme", id, 0)] = true
		body := strings.Replace(r.good, "evt_1", id, 1)
		wg.Go(func() {
			for b.do(signed(t, "midbound", r, body)).Code != http.StatusOK {
			}
		})
	}
	wg.Wait()
	ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	var mu sync.Mutex
	err := q.Subscriber("sub", queue.FlowControl{}).Receive(ctx, func(_ context.Context, m *queue.Message) queue.Disposition {
		mu.Lock()
		defer mu.Unlock()
		delete(missing, visitor.EventID(m.Attributes[envelope.AttrEvent]))
		if len(missing) == 0 {
			done()
		}
		return queue.Ack
	})
	if err != nil || len(missing) != 0 {
		t.Errorf("%d of %d accepted webhooks are not in the topic, %v", len(missing), webhooks, err)
	}
}

// BenchmarkVendors is one webhook of each real source, from the signed request to its answer.
func BenchmarkVendors(b *testing.B) {
	s := realSetup(b, dropping)
	for name, r := range realSources(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			req := signed(b, name, r, r.good)
			for b.Loop() {
				req.Body = io.NopCloser(strings.NewReader(r.good))
				s.h.ServeHTTP(httptest.NewRecorder(), req)
			}
		})
	}
}
