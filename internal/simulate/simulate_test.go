package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/simulate"
	"github.com/usherhq/usher/internal/source/vendors"
)

var start = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)

func endpoints(t *testing.T) []simulate.Endpoint {
	t.Helper()
	tokens, err := signature.NewURLToken(signature.Secrets{"0123456789abcdef0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	return []simulate.Endpoint{
		{Name: "mdb", Source: "mdb_legacy", Signer: tokens},
		{Name: "midbound", Source: "midbound"},
		{Name: "leadpipe", Source: "leadpipe"},
	}
}

func options(t *testing.T) simulate.Options {
	t.Helper()
	return simulate.Options{
		Seed: 7, Count: 300, Tenants: simulate.Tenants(5), Endpoints: endpoints(t), Duplicates: 0.1,
		Start: start, Interval: time.Second,
	}
}

func all(t *testing.T, o simulate.Options) []simulate.Webhook {
	t.Helper()
	g, err := simulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var out []simulate.Webhook
	for {
		w, ok, err := g.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		w.Endpoint.Signer = nil // compares by pointer
		out = append(out, w)
	}
}

func TestSameSeedSameTraffic(t *testing.T) {
	t.Parallel()
	a, b := all(t, options(t)), all(t, options(t))
	if !reflect.DeepEqual(a, b) {
		t.Error("two runs differ")
	}
	o := options(t)
	o.Seed++
	if reflect.DeepEqual(a, all(t, o)) {
		t.Error("another seed made the same traffic")
	}
}

func TestTrafficIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	seen, dups, sources, tenants := map[int]string{}, 0, map[string]bool{}, map[string]bool{}
	for _, w := range all(t, options(t)) {
		if w.Duplicate {
			dups++
			if seen[w.Number] != string(w.Body) {
				t.Errorf("duplicate %d is not like its original, or comes before it", w.Number)
			}
			continue
		}
		seen[w.Number] = string(w.Body)
		sources[w.Source], tenants[string(w.Tenant)] = true, true
	}
	if len(seen) != 300 || len(sources) != 3 || len(tenants) != 5 {
		t.Errorf("%d webhooks, %d sources, %d tenants; want 300, 3, 5", len(seen), len(sources), len(tenants))
	}
	if dups < 10 || dups > 60 {
		t.Errorf("%d duplicates of 300 at a share of 0.1", dups)
	}
}

func TestAdaptersReadEveryPayload(t *testing.T) {
	t.Parallel()
	reg := vendors.New()
	for _, w := range all(t, options(t)) {
		a, err := reg.Lookup(w.Source)
		if err != nil {
			t.Fatal(err)
		}
		recs, err := a.Parse(w.Body)
		if err != nil || len(recs) != 1 {
			t.Fatalf("%s: %d records, error %v", w.Source, len(recs), err)
		}
		if recs[0].Tenant != string(w.Tenant) && w.Source != "leadpipe" {
			t.Errorf("%s names tenant %q, want %q", w.Source, recs[0].Tenant, w.Tenant)
		}
		recs[0].Event.TenantID, recs[0].Event.Source = w.Tenant, w.Source
		if len(recs[0].Event.Person.Emails) == 0 || recs[0].Event.Visitor() == "" {
			t.Errorf("%s: the adapter found no visitor", w.Source)
		}
	}
}

func TestRunCountsAndRetries(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/mdb") && r.URL.Query().Get("token") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if calls.Add(1)%10 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	g, err := simulate.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	rep, err := simulate.Run(t.Context(), g, simulate.RunOptions{
		Base: srv.URL, Tries: 20, Client: srv.Client(), Progress: func(n int) { last = n },
	})
	if err != nil {
		t.Fatal(err)
	}
	distinct := 0
	for _, n := range rep.ByTenant {
		distinct += n
	}
	if distinct != 300 || rep.ByStatus[200] != rep.Sent || rep.Retries == 0 || rep.Sent != 300+rep.Duplicates || last != rep.Sent {
		t.Errorf("report %+v, %d distinct, progress %d", rep, distinct, last)
	}
}

func TestRunReportsNoAnswerWithoutTheURL(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Count, o.Endpoints, o.Duplicates = 3, o.Endpoints[:1], 0
	g, err := simulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := simulate.Run(t.Context(), g, simulate.RunOptions{Base: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if rep.ByStatus[0] != 3 || rep.FirstError == "" || strings.Contains(rep.FirstError, "token") {
		t.Errorf("report %+v", rep)
	}
}

type badSigner struct{}

func (badSigner) Sign(*signature.Request, string) error { return errors.New("no key") }

func TestRunEndsWithItsContextAndOnSigningErrors(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	g, err := simulate.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = simulate.Run(ctx, g, simulate.RunOptions{
		Base: srv.URL, Rate: 1000, Progress: func(int) { cancel(errors.New("seen enough")) },
	})
	if err == nil || !strings.Contains(err.Error(), "seen enough") {
		t.Errorf("error %v", err)
	}

	o := options(t)
	o.Endpoints = []simulate.Endpoint{{Name: "x", Source: "midbound", Signer: badSigner{}}}
	if g, err = simulate.New(o); err != nil {
		t.Fatal(err)
	}
	if _, err = simulate.Run(t.Context(), g, simulate.RunOptions{Base: srv.URL}); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("error %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	_, err := simulate.New(simulate.Options{
		Duplicates: 2, Visitors: -1, Endpoints: []simulate.Endpoint{{Source: "nobody"}}, Tenants: []simulate.Tenant{{ID: "a/b"}},
	})
	for _, want := range []string{"count", "duplicates", "visitors", "start", `source "nobody"`, "tenant id"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := simulate.New(simulate.Options{Start: start, Count: 1}); err == nil ||
		!strings.Contains(err.Error(), "tenants") || !strings.Contains(err.Error(), "sources") {
		t.Errorf("error %v", err)
	}
}

func ExampleNew() {
	g, err := simulate.New(simulate.Options{
		Seed: 1, Count: 2, Tenants: simulate.Tenants(1), Start: time.Unix(0, 0),
		Endpoints: []simulate.Endpoint{{Name: "leadpipe", Source: "leadpipe"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for w, ok, _ := g.Next(); ok; w, ok, _ = g.Next() {
		fmt.Println(w.Tenant, w.Path)
	}
	// Output:
	// tenant-0001 /v1/ingest/leadpipe/tenant-0001
	// tenant-0001 /v1/ingest/leadpipe/tenant-0001
}
