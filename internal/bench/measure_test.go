package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
)

func TestReport_print(t *testing.T) {
	t.Parallel()
	tab := table{columns: []string{"what", "µs"}}
	tab.add("é", "12")
	r := &report{
		Mode: "some", Setting: "as it was", Tables: []table{tab},
		Targets: []target{atMost("a", 2, 1, 0), atLeast("b", 123.4, 100, 0)}, Notes: []string{"A note."},
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `
some: as it was

| what | µs |
|------|----|
| é    | 12 |

| target | required     | aim | measured | verdict    |
|--------|--------------|-----|----------|------------|
| a      | at most 1    | -   | 2        | **missed** |
| b      | at least 100 | -   | 123      | met        |

A note.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 0.355: "0.35", 12.34: "12.3", 5: "5", 1234.5: "1234"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
	sorted := make([]float64, 200)
	for i := range sorted {
		sorted[i] = float64(i + 1)
	}
	for p, want := range map[float64]float64{0: 1, 0.5: 100, 0.99: 198, 1: 200} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("percentile(%v) = %v, want %v", p, got, want)
		}
	}
	if m := median([]float64{3, 1, 2}); m != 2 || median(nil) != 0 || percentile(nil, 1) != 0 {
		t.Errorf("median %v", m)
	}
}

func TestParseTraces(t *testing.T) {
	t.Parallel()
	const traces = `File: bench
Type: cpu
Duration: 5.48s, Total samples = 4.51s (82.23%)
-----------+-------------------------------------------------------
     600ms   encoding/json.Unmarshal (inline)
             github.com/usherhq/usher/internal/envelope.Decode
             github.com/usherhq/usher/internal/dispatch.(*Dispatcher).Handle
             github.com/usherhq/usher/internal/queue/memqueue.subscriber.Receive.func3
-----------+-------------------------------------------------------
     200ms   github.com/usherhq/usher/internal/store/memstore.(*Store).put
             github.com/usherhq/usher/internal/commit.(*Committer).commit
             github.com/usherhq/usher/internal/commit.(*Committer).commit
-----------+-------------------------------------------------------
     100ms   github.com/usherhq/usher/internal/bench.(*meter).Get
-----------+-------------------------------------------------------
     100ms   runtime.gcDrain
             runtime.gcBgMarkWorker
-----------+-------------------------------------------------------
`
	got, err := parseTraces([]byte(traces))
	if err != nil {
		t.Fatal(err)
	}
	want := &profile{twins: 20, outside: 10, gc: 10, functions: []profiled{
		{"internal/envelope.Decode", 60, 60},
		{"internal/commit.(*Committer).commit", 0, 20},
		{"internal/dispatch.(*Dispatcher).Handle", 0, 60},
	}}
	near := cmpopts.EquateApprox(0, 1e-9)
	if diff := cmp.Diff(want, got, near, cmp.AllowUnexported(profile{}, profiled{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "File: bench\n", "-----------+---\nsoon f\n"} {
		if _, err := parseTraces([]byte(bad)); !errors.Is(err, errTraces) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	if _, err := readProfile(t.Context(), t.TempDir()+"/none"); err == nil {
		t.Error("a missing profile was read")
	}
}

func TestTimed(t *testing.T) {
	t.Parallel()
	const commit = 2 * time.Millisecond
	c, err := traffic{Events: 40, Tenants: 2}.corpus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := timed(t.Context(), site{Project: "bench", Commit: commit}, 500, c)
	if err != nil {
		t.Fatal(err)
	}
	if s.Events != 30 || s.P50 < float64(commit.Milliseconds()) || s.P99 < s.P50 || s.Max < s.P99 {
		t.Errorf("with Commits of %v: %+v", commit, s)
	}
	if s.Unseen != 0 {
		t.Errorf("%d events were not seen", s.Unseen)
	}
	watch := newStopwatch()
	watch.start(c.messages[0].event)
	watch.end = time.Now().Add(time.Minute)
	if late := watch.spread(c.messages[:1]); late.Unseen != 1 || late.Max < 59_000 {
		t.Errorf("an event whose Commit nobody saw: %+v", late)
	}
}

func TestPace_ends(t *testing.T) {
	t.Parallel()
	c, err := traffic{Events: 2, Tenants: 1}.corpus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := memqueue.New(memqueue.Options{}).Publisher("none")
	if err := pace(t.Context(), p, c.messages, 1e6, newStopwatch()); err == nil {
		t.Error("publishing to a missing topic went well")
	}
	if err := publishAll(t.Context(), p, c.messages); err == nil {
		t.Error("publishing to a missing topic went well")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pace(ctx, p, c.messages, 1, newStopwatch()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after the end", err)
	}
}

func TestWitness(t *testing.T) {
	t.Parallel()
	w := &witness{now: map[string]int{}, before: map[string]bool{}}
	w.arrived("1", 1)
	w.arrived("2", 0)
	w.arrived("1", 2) // held
	w.left("1", queue.Ack)
	w.left("1", queue.Ack)
	w.left("2", queue.Nack)
	w.arrived("2", 0) // given back before
	w.left("2", queue.Ack)
	w.arrived("2", 0) // acked before
	want := leaseRun{Messages: 2, Settled: 3, Held: 1, Late: 1, Attempts: 1}
	if diff := cmp.Diff(want, w.run); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := w.run.share(); s != 100 {
		t.Errorf("share %v %%", s)
	}
}

// A witness holds what it gets, and its daemon handles it.
func TestWitness_receive(t *testing.T) {
	t.Parallel()
	q := memqueue.New(memqueue.Options{})
	topology := queue.Topology{Topics: []string{"topic"}, Subscriptions: []queue.SubscriptionSpec{{Name: "subscription", Topic: "topic", AckDeadline: 10 * time.Second}}}
	if err := q.Create(t.Context(), topology); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Publisher("topic").Publish(t.Context(), &queue.Message{Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	w := &witness{Queue: q, hold: time.Millisecond, now: map[string]int{}, before: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	err := w.Subscriber("subscription", queue.FlowControl{}).Receive(ctx, func(context.Context, *queue.Message) queue.Disposition {
		if held := time.Since(start); held < w.hold {
			t.Errorf("held for %v, want at least %v", held, w.hold)
		}
		cancel()
		return queue.Ack
	})
	if want := (leaseRun{Messages: 1, Settled: 1}); err != nil || w.run != want {
		t.Errorf("error %v, %+v", err, w.run)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	m := &memory{bytes: 10 << 10, large: 2}
	c, err := m.backlog(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	large := 0
	for i, msg := range c.messages {
		switch n := len(msg.Data); {
		case n > 3<<20 && n < queue.MaxMessage:
			large++
		case n < 8<<10 || n > 13<<10:
			t.Errorf("message %d has %d bytes", i, n)
		}
	}
	if c.events != 22 || len(c.messages) != 22 || large != 2 {
		t.Errorf("%d events, %d messages, %d large", c.events, len(c.messages), large)
	}
	if runtime.GOOS != "linux" {
		return
	}
	now, err := resident(os.Getpid())
	peak, err2 := residentPeak(os.Getpid())
	if err := errors.Join(err, err2); err != nil || now < 1 || peak < 1 {
		t.Errorf("resident %v MB, peak %v MB, error %v", now, peak, err)
	}
	if _, err := statusLine(os.Getpid(), "VmNone:"); err == nil {
		t.Error("a missing line was read")
	}
	if _, err := resident(-1); err == nil {
		t.Error("a missing process was read")
	}
}

func TestTraffic_stable(t *testing.T) {
	t.Parallel()
	tr := traffic{Events: 50, Tenants: 4, Duplicates: 0.3}
	c, err := tr.corpus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, rest := apart(c.messages)
	again := map[string]int{}
	for _, m := range c.messages {
		again[m.event]++
	}
	twice := 0
	for _, n := range again {
		if n == 2 {
			twice++
		}
	}
	if len(again) != 50 || twice == 0 || len(first) != twice || len(first)+len(rest) != len(c.messages) {
		t.Errorf("%d events, %d of them twice; %d apart, %d left of %d", len(again), twice, len(first), len(rest), len(c.messages))
	}
	for _, m := range first {
		if m.duplicate {
			t.Error("a second message was taken out first")
		}
	}
}
