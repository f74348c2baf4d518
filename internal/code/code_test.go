package code_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/usherhq/usher/internal/code"
)

func TestOf(t *testing.T) {
	t.Parallel()

	conflict := code.New(code.Conflict, "commit", nil)
	tests := []struct {
		name string
		err  error
		want code.Code
	}{
		{"nil", nil, code.OK},
		{"classified", conflict, code.Conflict},
		{"wrapped", fmt.Errorf("batch: %w", conflict), code.Conflict},
		{"joined", errors.Join(errors.New("other"), conflict), code.Conflict},
		{"outermost of two", code.New(code.Internal, "flush", conflict), code.Internal},
		{"canceled", context.Canceled, code.Canceled},
		{"deadline", fmt.Errorf("commit: %w", context.DeadlineExceeded), code.Canceled},
		{"classified though canceled", code.New(code.Unavailable, "commit", context.Canceled), code.Unavailable},
		{"unclassified", errors.New("other"), code.Unknown},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			if got := code.Of(tc.err); got != tc.want {
				t.Errorf("Of(%v) = %v, want %v", tc.err, got, tc.want)
			}
		})
	}
}

func TestError(t *testing.T) {
	t.Parallel()

	cause := errors.New("cause")
	err := code.New(code.Denied, "publish", cause)
	if got, want := err.Error(), "publish: denied: cause"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is hidden")
	}
	if got, want := code.New(code.Invalid, "write", nil).Error(), "write: invalid"; got != want {
		t.Errorf("Error() without cause = %q, want %q", got, want)
	}
}

func TestCode_String(t *testing.T) {
	t.Parallel()

	// Names are in logs, metrics and alerts: a change breaks those.
	for c, want := range map[code.Code]string{
		code.OK: "ok", code.Conflict: "conflict", code.Invalid: "invalid", code.TooLarge: "too_large", code.NotFound: "not_found",
		code.Denied: "denied", code.Unavailable: "unavailable", code.Internal: "internal", code.Canceled: "canceled", code.Unknown: "unknown",
	} {
		if got := c.String(); got != want {
			t.Errorf("Code(%d) = %q, want %q", uint8(c), got, want)
		}
	}
}
