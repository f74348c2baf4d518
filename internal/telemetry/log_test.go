package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/telemetry"
)

// line logs through a new logger and returns the one JSON line, without its time.
func line(t *testing.T, o telemetry.Options, log func(l *slog.Logger)) map[string]any {
	t.Helper()
	var b bytes.Buffer
	l, err := telemetry.New(&b, o)
	if err != nil {
		t.Fatal(err)
	}
	log(l)
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, &b)
	}
	if got["time"] == nil {
		t.Error("no time")
	}
	delete(got, "time")
	return got
}

func TestJSON(t *testing.T) {
	t.Parallel()
	got := line(t, telemetry.Options{Labels: map[string]string{"version": "1", "app": "usher"}}, func(l *slog.Logger) {
		l.With("source", "midbound").WarnContext(t.Context(), "receipt", "secret", redact.Secret("hush"),
			slog.Group("g", "msg", "kept", "level", 7))
	})
	want := map[string]any{
		"severity": "WARNING", "message": "receipt", "source": "midbound", "secret": "<secret>",
		"g":                             map[string]any{"msg": "kept", "level": 7.0},
		"logging.googleapis.com/labels": map[string]any{"version": "1", "app": "usher"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSeverity(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "DEBUG", slog.LevelInfo: "INFO", slog.LevelInfo + 1: "INFO", slog.LevelWarn: "WARNING",
		slog.LevelError: "ERROR", slog.LevelError + 4: "CRITICAL",
	} {
		got := line(t, telemetry.Options{Level: slog.LevelDebug}, func(l *slog.Logger) { l.Log(t.Context(), level, "m") })
		if got["severity"] != want {
			t.Errorf("level %v is %v, want %s", level, got["severity"], want)
		}
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	for project, want := range map[string]string{
		"":     "01000000000000000000000000000000",
		"demo": "projects/demo/traces/01000000000000000000000000000000",
	} {
		got := line(t, telemetry.Options{Project: project}, func(l *slog.Logger) { l.With("k", "v").InfoContext(ctx, "m") })
		if d := cmp.Diff(map[string]any{
			"severity": "INFO", "message": "m", "k": "v", "logging.googleapis.com/trace": want,
			"logging.googleapis.com/spanId": "0200000000000000", "logging.googleapis.com/trace_sampled": true,
		}, got); d != "" {
			t.Error(d)
		}
	}
}

func TestSourceLocation(t *testing.T) {
	t.Parallel()
	got := line(t, telemetry.Options{Source: true}, func(l *slog.Logger) { l.InfoContext(t.Context(), "m") })
	loc, _ := got["logging.googleapis.com/sourceLocation"].(map[string]any)
	if file, _ := loc["file"].(string); !strings.HasSuffix(file, "log_test.go") || loc["line"] == nil {
		t.Errorf("source location = %v", loc)
	}
}

func TestLevelCanChange(t *testing.T) {
	t.Parallel()
	var (
		b     bytes.Buffer
		level slog.LevelVar
	)
	l, err := telemetry.New(&b, telemetry.Options{Level: &level})
	if err != nil {
		t.Fatal(err)
	}
	l.DebugContext(t.Context(), "before")
	level.Set(slog.LevelDebug)
	l.WithGroup("g").DebugContext(t.Context(), "after", "k", "v")
	if got := b.String(); strings.Contains(got, "before") || !strings.Contains(got, `"g":{"k":"v"}`) {
		t.Errorf("lines %s", got)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	l, err := telemetry.New(&b, telemetry.Options{Format: telemetry.Text})
	if err != nil {
		t.Fatal(err)
	}
	l.InfoContext(t.Context(), "ready", "secret", redact.Secret("hush"))
	if got := b.String(); !strings.HasSuffix(got, "level=INFO msg=ready secret=<secret>\n") {
		t.Errorf("line %q", got)
	}
}

func TestFormatIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := telemetry.New(nil, telemetry.Options{Format: "xml"}); err == nil {
		t.Error("xml is no format")
	}
}
