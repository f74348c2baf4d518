package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/web"
)

// setupLogged also returns the handler's logger.
func setupLogged(t *testing.T) (b *bundle, logger *slog.Logger) {
	t.Helper()
	b = setup(t, func(o *ingest.Options) { logger = o.Logger })
	return b, logger
}

// TestRefusalsLeaveReceipts: what stands before the handler leaves a receipt for what it refuses, and none for
// what it lets through.
func TestRefusalsLeaveReceipts(t *testing.T) {
	t.Parallel()
	unavailable := func(cause error) error {
		return &web.Error{Status: 503, Code: "unavailable", Msg: "Service unavailable", Err: cause}
	}
	for _, tc := range []struct {
		name   string
		err    error
		want   int
		logged string
	}{
		{"no cause", unavailable(nil), 503, "unavailable"},
		{"its cause", unavailable(errors.New("project: required")), 503, "unavailable: project: required"},
		{"its cause, around a classified one", unavailable(fmt.Errorf("open: %w", code.New(code.Denied, "get", nil))), 503, "unavailable: open: get: denied"},
		{"any error", errors.New("ada@example.com"), 500, "unknown (*errors.errorString)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b, logger := setupLogged(t)
			h := ingest.Handle(logger, func(http.ResponseWriter, *http.Request) error { return tc.err })
			w := httptest.NewRecorder()
			h.ServeHTTP(w, post("/v1/ingest/ada@example.com", "{}"))
			lines := b.logs.lines(t, "receipt")
			if w.Code != tc.want || len(lines) != 1 {
				t.Fatalf("answer %d, %d receipts", w.Code, len(lines))
			}
			for k, want := range map[string]any{
				"severity": "ERROR", "outcome": "failed", "status": float64(tc.want), "error": tc.logged,
				"function_execution_id": "x1", "endpoint": "",
			} {
				if got := lines[0][k]; got != want {
					t.Errorf("receipt has %s %v, want %v", k, got, want)
				}
			}
			for _, p := range personal {
				if strings.Contains(b.logs.String(), p) {
					t.Errorf("the log holds %q", p)
				}
			}
		})
	}
	t.Run("let through", func(t *testing.T) {
		t.Parallel()
		b, logger := setupLogged(t)
		lazy := ingest.Handle(logger, web.Lazy(func(context.Context) (http.Handler, error) { return b.h, nil }))
		lazy.ServeHTTP(httptest.NewRecorder(), post("/v1/ingest/nothing", "{}"))
		if n := len(b.logs.lines(t, "receipt")); n != 1 {
			t.Errorf("%d receipts for one request", n)
		}
	})
}
