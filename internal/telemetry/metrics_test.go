package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/usherhq/usher/internal/telemetry"
)

// The tests of metrics set environment variables, so they are not parallel.

func TestNewMeterProvider_none(t *testing.T) {
	for _, exporter := range []string{"", "none"} {
		t.Setenv("OTEL_METRICS_EXPORTER", exporter)
		m, err := telemetry.NewMeterProvider(t.Context(), "daemon", "1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.MeterProvider.(noop.MeterProvider); !ok {
			t.Errorf("%q: %T measures although nobody wants to know", exporter, m.MeterProvider)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
}

func TestNewMeterProvider_errors(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "carrier_pigeon")
	if _, err := telemetry.NewMeterProvider(t.Context(), "daemon", "1"); err == nil ||
		!strings.Contains(err.Error(), "OTEL_METRICS_EXPORTER: want otlp, prometheus, console or none") {
		t.Errorf("unknown exporter: %v", err)
	}
	t.Setenv("OTEL_METRICS_EXPORTER", "console")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "no pairs")
	if _, err := telemetry.NewMeterProvider(t.Context(), "daemon", "1"); err == nil ||
		!strings.Contains(err.Error(), "OTEL_RESOURCE_ATTRIBUTES: ") {
		t.Errorf("bad attributes: %v", err)
	}
}

// TestMeters_otlp: what was measured reaches the collector at the end, under the component's name or the operator's.
func TestMeters_otlp(t *testing.T) {
	bodies := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // what is missing is missed below
		bodies <- string(b)
	}))
	defer collector.Close()
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	for _, tt := range []struct{ attributes, want string }{
		{"", "usher-daemon"},
		{"service.name=acme-usher", "acme-usher"},
	} {
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", tt.attributes)
		m, err := telemetry.NewMeterProvider(t.Context(), "daemon", "1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.Meter("test").Int64Counter("usher.test")
		if err != nil {
			t.Fatal(err)
		}
		c.Add(t.Context(), 1)
		for range 2 { // the second time it does nothing
			if err := m.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
		body := <-bodies
		for _, want := range []string{tt.want, "1.2.3", "usher.test"} {
			if !strings.Contains(body, want) {
				t.Errorf("the export lacks %q", want)
			}
		}
	}
	if len(bodies) != 0 {
		t.Errorf("%d exports too many", len(bodies))
	}
}

// TestMeters_hangingCollector: the last export gives up with its context.
func TestMeters_hangingCollector(t *testing.T) {
	release := make(chan struct{})
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer collector.Close()
	defer close(release)
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	m, err := telemetry.NewMeterProvider(t.Context(), "daemon", "1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.Meter("test").Int64Counter("usher.test")
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t.Context(), 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "export the last metrics") {
		t.Errorf("Shutdown: %v", err)
	}
}
