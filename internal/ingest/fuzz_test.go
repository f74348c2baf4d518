package ingest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/telemetry"
)

// FuzzHandler holds that whatever is sent, there is one answer, one receipt with its status, and a success
// status only after something was published or parked or nothing was asked for.
func FuzzHandler(f *testing.F) {
	for _, tc := range rows() {
		r := tc.req()
		body, _ := io.ReadAll(r.Body)
		if len(body) < 4096 {
			f.Add(r.Method, r.URL.Path, body, r.Header.Get("X-Secret"), tc.failing)
		}
	}
	sources := realSources(f)
	for name, r := range sources {
		f.Add("POST", "/v1/ingest/"+name, []byte(r.good), "secret-of-the-header", false)
		for _, body := range r.refused {
			f.Add("POST", "/v1/ingest/"+name+"/acme", []byte(body), "secret-of-the-header", false)
		}
	}
	withSources := func(o *ingest.Options) {
		for name, r := range sources {
			o.Endpoints = append(o.Endpoints, ingest.Endpoint{
				Endpoint: resolve.Endpoint{Name: name, Adapter: r.adapter}, Verifier: header{},
			})
		}
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte, secret string, fail bool) {
		b := setup(t, withSources)
		if fail {
			b = setup(t, withSources, failing)
		}
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path}, Header: http.Header{"X-Secret": {secret}},
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}
		w := b.do(r.WithContext(t.Context()))
		lines := b.logs.lines(t, "receipt")
		if len(lines) != 1 || lines[0]["status"] != float64(w.Code) {
			t.Fatalf("answer %d, receipts %v", w.Code, lines)
		}
		stored := len(b.events.messages()) + len(b.dead.messages())
		if w.Code == 200 && stored == 0 && lines[0]["outcome"] != "accepted_test" {
			t.Fatalf("success and nothing is kept: %v", lines)
		}
	})
}

// BenchmarkIngest is one webhook from the request to its answer, without network and Pub/Sub.
func BenchmarkIngest(b *testing.B) {
	for name, body := range map[string]string{
		"accepted": good,
		"parked":   unnamed,
		"100records": "[" + strings.Repeat(`{"id":"1","tenant":"acme","email":"ada@example.com"},`, 99) +
			`{"id":"1","tenant":"acme"}]`,
	} {
		b.Run(name, func(b *testing.B) {
			s := setup(b, dropping)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				s.h.ServeHTTP(httptest.NewRecorder(), post("/v1/ingest/lenient", body))
			}
		})
	}
}

// dropping makes a handler that keeps nothing and still writes its log.
func dropping(o *ingest.Options) {
	o.Events, o.DeadLetters = sink{}, sink{}
	o.Logger, _ = telemetry.New(io.Discard, telemetry.Options{}) // the zero options are valid
}

// sink takes every message and keeps none.
type sink struct{}

func (sink) Publish(_ context.Context, m *queue.Message) (string, error) {
	return "1", queue.CheckMessage(m)
}
