package testkit

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a testing.TB that notes how the test went.
type recorder struct {
	testing.TB
	outcome  string
	lines    []string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Log(args ...any)  { r.lines = append(r.lines, fmt.Sprint(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.outcome = "fatal: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.outcome = "skip: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// record runs f as a test's body does, in a goroutine that Fatalf and Skipf end.
func record(t *testing.T, f func(*recorder)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestNeed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		env         map[string]string
		want        string
		wantOutcome string
	}{
		{name: "set", env: map[string]string{"HOST": "127.0.0.1:1"}, want: "127.0.0.1:1"},
		{name: "set and required", env: map[string]string{"HOST": "127.0.0.1:1", RequireEnv: "1"}, want: "127.0.0.1:1"},
		{name: "unset", wantOutcome: "skip: HOST is not set"},
		{name: "unset and required", env: map[string]string{RequireEnv: "1"}, wantOutcome: "fatal: HOST is not set"},
		{name: "not required", env: map[string]string{RequireEnv: "0"}, wantOutcome: "skip: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got string
			r := record(t, func(r *recorder) { got = need(r, "HOST", func(k string) string { return tt.env[k] }) })
			if got != tt.want || !strings.HasPrefix(r.outcome, tt.wantOutcome) || (tt.wantOutcome == "") != (r.outcome == "") {
				t.Errorf("need = %q with outcome %q; want %q, %q", got, r.outcome, tt.want, tt.wantOutcome)
			}
		})
	}
}

func TestNeedReadsItsVariable(t *testing.T) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "192.0.2.1:1")
	t.Setenv("FIRESTORE_EMULATOR_HOST", "192.0.2.1:2")
	if got := NeedPubSub(t); got != "192.0.2.1:1" {
		t.Errorf("NeedPubSub = %q", got)
	}
	if got := NeedFirestore(t); got != "192.0.2.1:2" {
		t.Errorf("NeedFirestore = %q", got)
	}
}

func TestLoggerDropsLinesAfterTheTest(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	log := Logger(r)
	log.DebugContext(t.Context(), "during", "tenant_id", "t-1")
	for _, f := range r.cleanups {
		f()
	}
	log.InfoContext(t.Context(), "after")
	if len(r.lines) != 1 || !strings.Contains(r.lines[0], `level=DEBUG msg=during tenant_id=t-1`) || strings.HasSuffix(r.lines[0], "\n") {
		t.Errorf("lines = %q; want the one written during the test", r.lines)
	}
}

func TestEventually(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		trueAfter   time.Duration
		wantOutcome string
	}{
		{name: "at once"},
		{name: "later", trueAfter: 900 * time.Millisecond},
		{name: "too late", trueAfter: time.Hour, wantOutcome: "fatal: not within 1s: the visitor is stored"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, polls := time.Now(), 0
				r := record(t, func(r *recorder) {
					Eventually(r, time.Second, func(ctx context.Context) bool {
						polls++
						if _, ok := ctx.Deadline(); !ok {
							t.Error("the condition's context has no deadline")
						}
						return time.Since(start) >= tt.trueAfter
					}, "the visitor is stored")
				})
				if r.outcome != tt.wantOutcome {
					t.Errorf("outcome = %q; want %q", r.outcome, tt.wantOutcome)
				}
				if polls > 20 {
					t.Errorf("polled %d times within a second; want growing intervals", polls)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("took %s; want at most the timeout", took)
				}
			})
		})
	}
}

func TestUniqueID(t *testing.T) {
	t.Parallel()
	t.Run("Name with spaces/İ and far more characters than fit into it", func(t *testing.T) {
		t.Parallel()
		a, b := UniqueID(t, "a-prefix-of-twenty-c"), UniqueID(t, "a-prefix-of-twenty-c")
		if a == b {
			t.Errorf("twice %q", a)
		}
		if !regexp.MustCompile(`^a-prefix-of-twenty-c-[a-z0-9-]{1,42}$`).MatchString(a) {
			t.Errorf("UniqueID = %q", a)
		}
	})
}
