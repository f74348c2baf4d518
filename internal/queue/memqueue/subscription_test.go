package memqueue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
)

func TestBackoffDoublesWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		top := topology(6)
		top.Subscriptions[0].MaxBackoff = 60 * time.Second
		q := newQueue(t, memqueue.Options{}, top)
		publishUntilDone(t, q.Publisher("top"), &queue.Message{Data: []byte("x")})
		last := time.Now()
		var gaps []time.Duration
		stop := start(t, q, "sub", queue.FlowControl{}, func(context.Context, *queue.Message) queue.Disposition {
			gaps = append(gaps, time.Since(last))
			last = time.Now()
			return queue.Nack
		})
		if err := q.WaitIdle(t.Context(), "sub"); err != nil {
			t.Fatal(err)
		}
		stop()
		want := []time.Duration{
			0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second, 60 * time.Second,
		}
		if d := cmp.Diff(want, gaps); d != "" {
			t.Errorf("gaps between deliveries: %s", d)
		}
		wantStats := memqueue.Stats{Published: 1, Delivered: 6, Nacked: 6, DeadLettered: 1}
		if got := q.Stats("sub"); got != wantStats {
			t.Errorf("stats = %+v, want %+v", got, wantStats)
		}
	})
}

func TestExpiredLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, memqueue.Options{}, topology(queue.MinAttempts))
		publishUntilDone(t, q.Publisher("top"), &queue.Message{Data: []byte("x")})
		// No handler answers before its lease ends, so the message goes to the dead-letter topic.
		hang := func(ctx context.Context, _ *queue.Message) queue.Disposition {
			<-ctx.Done()
			return queue.Ack
		}
		stop := start(t, q, "sub", queue.FlowControl{MaxHold: 20 * time.Second}, hang)
		time.Sleep(time.Hour) // virtual time
		synctest.Wait()
		stop()
		want := memqueue.Stats{Published: 1, Delivered: 5, Expired: 5, DeadLettered: 1}
		if got := q.Stats("sub"); got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}
	})
}

func TestAbandonedHandlersLoseTheirLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, memqueue.Options{}, topology(queue.MaxAttempts))
		publishUntilDone(t, q.Publisher("top"), &queue.Message{Data: []byte("x")})
		release := make(chan struct{})
		fc := queue.FlowControl{Lease: 30 * time.Second, MaxHold: time.Hour, Shutdown: time.Second}
		stop := start(t, q, "sub", fc, func(context.Context, *queue.Message) queue.Disposition {
			<-release
			return queue.Ack
		})
		synctest.Wait()
		stop()
		got := make(chan time.Time, 1)
		began := time.Now()
		stop = start(t, q, "sub", fc, func(context.Context, *queue.Message) queue.Disposition {
			got <- time.Now()
			return queue.Ack
		})
		if d := (<-got).Sub(began); d != 40*time.Second {
			t.Errorf("came back after %v, want the lease and the backoff: 40s", d)
		}
		stop()
		close(release) // the late ack counts for nothing
		synctest.Wait()
		want := memqueue.Stats{Published: 1, Delivered: 2, Acked: 1, Expired: 1}
		if got := q.Stats("sub"); got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}
	})
}

func TestWaitIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, memqueue.Options{}, topology(queue.MaxAttempts))
		if err := q.WaitIdle(t.Context(), "sub"); err != nil {
			t.Errorf("empty subscription: %v", err)
		}
		if err := q.WaitIdle(t.Context(), "missing"); code.Of(err) != code.NotFound {
			t.Errorf("missing subscription: %v, want %v", err, code.NotFound)
		}
		publishUntilDone(t, q.Publisher("top"), &queue.Message{Data: []byte("x")})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.WaitIdle(ctx, "sub"); code.Of(err) != code.Canceled {
			t.Errorf("backlog: %v, want %v", err, code.Canceled)
		}
		idle := make(chan error, 1)
		go func() { idle <- q.WaitIdle(t.Context(), "sub") }()
		release := make(chan struct{})
		stop := start(t, q, "sub", queue.FlowControl{}, func(context.Context, *queue.Message) queue.Disposition {
			<-release
			return queue.Ack
		})
		synctest.Wait()
		if s := q.Stats("sub"); len(idle) != 0 || s.Outstanding != 1 || s.Backlog != 0 {
			t.Errorf("while the handler runs: idle %d, %+v", len(idle), s)
		}
		close(release)
		if err := <-idle; err != nil {
			t.Errorf("WaitIdle: %v", err)
		}
		stop()
		publishUntilDone(t, q.Publisher("top"), &queue.Message{Data: []byte("y")})
		go func() { idle <- q.WaitIdle(t.Context(), "sub") }()
		synctest.Wait()
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-idle; code.Of(err) != code.Unavailable {
			t.Errorf("closed: %v, want %v", err, code.Unavailable)
		}
		if err := q.Create(t.Context(), topology(5)); code.Of(err) != code.Unavailable {
			t.Errorf("Create after Close: %v, want %v", err, code.Unavailable)
		}
	})
}

func TestMessagesAreCopies(t *testing.T) {
	t.Parallel()
	publishTime := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	top := topology(queue.MaxAttempts)
	top.Subscriptions[0].MinBackoff, top.Subscriptions[0].MaxBackoff = 0, 0
	q := newQueue(t, memqueue.Options{Now: func() time.Time { return publishTime }}, top)
	sent := &queue.Message{Data: []byte("data"), Attributes: map[string]string{"k": "v"}}
	publishUntilDone(t, q.Publisher("top"), sent)
	sent.Data[0], sent.Attributes["k"] = 'X', "X"
	deliveries := 0
	stop := start(t, q, "sub", queue.FlowControl{}, func(_ context.Context, m *queue.Message) queue.Disposition {
		if string(m.Data) != "data" || m.Attributes["k"] != "v" {
			t.Errorf("data %q, attribute %q: changed by somebody else", m.Data, m.Attributes["k"])
		}
		if !m.PublishTime.Equal(publishTime) {
			t.Errorf("publish time = %v, want %v", m.PublishTime, publishTime)
		}
		m.Data[0], m.Attributes["k"] = 'Y', "Y"
		if deliveries++; deliveries == 1 {
			return queue.Nack
		}
		return queue.Ack
	})
	if err := q.WaitIdle(t.Context(), "sub"); err != nil {
		t.Fatal(err)
	}
	stop()
	if deliveries != 2 {
		t.Errorf("%d deliveries, want 2", deliveries)
	}
}
