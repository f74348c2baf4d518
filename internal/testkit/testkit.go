// Package testkit holds small helpers for the tests of every package.
package testkit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// RequireEnv is the environment variable that turns a skip for want of an emulator into a failure when it is "1".
const RequireEnv = "USHER_REQUIRE_EMULATORS"

// NeedPubSub returns the host:port of the Pub/Sub emulator. It skips the test when there is none, or fails it under
// RequireEnv.
func NeedPubSub(t testing.TB) string {
	t.Helper()
	return need(t, "PUBSUB_EMULATOR_HOST", os.Getenv)
}

// NeedFirestore returns the host:port of the Firestore emulator. It skips the test when there is none, or fails it
// under RequireEnv.
func NeedFirestore(t testing.TB) string {
	t.Helper()
	return need(t, "FIRESTORE_EMULATOR_HOST", os.Getenv)
}

func need(t testing.TB, name string, getenv func(string) string) string {
	t.Helper()
	host := getenv(name)
	switch {
	case host != "":
	case getenv(RequireEnv) == "1":
		t.Fatalf("%s is not set, and %s=1 forbids to skip", name, RequireEnv)
	default:
		t.Skipf("%s is not set: run it by make test, which starts the emulators", name)
	}
	return host
}

// Logger returns a logger, at debug level, whose lines go to the test's log. Lines of goroutines that outlive the test
// are dropped, where t.Log would panic.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	w := &logWriter{t: t}
	t.Cleanup(w.close)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct {
	mu sync.Mutex
	t  testing.TB // nil after the test
}

func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Helper()
		w.t.Log(string(bytes.TrimSuffix(line, []byte("\n"))))
	}
	return len(line), nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}

const (
	firstPoll = time.Millisecond
	maxPoll   = 100 * time.Millisecond
)

// Eventually waits until cond returns true and fails the test, with msg, when it has not within the timeout. The
// condition gets a context that ends at the timeout; it is asked at once and then at growing intervals.
func Eventually(t testing.TB, timeout time.Duration, cond func(context.Context) bool, msg string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for wait := firstPoll; !cond(ctx); wait = min(2*wait, maxPoll) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			t.Fatalf("not within %s: %s", timeout, msg)
		}
	}
}

// UniqueID returns an identifier that no other test or run uses, for topics, databases and tenants of shared emulators:
// the prefix, the test's name as far as it fits, and a random part, in lower-case letters, digits and hyphens and of
// at most 63 characters when the prefix has at most 20.
func UniqueID(t testing.TB, prefix string) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, t.Name())
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%s-%.24s-%s", prefix, name, hex.EncodeToString(random[:]))
}
