package memqueue_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
)

// topology has topic "top" with subscription "sub", and dead letters on topic "dead" with "dead-sub".
func topology(attempts int) queue.Topology {
	return queue.Topology{
		Topics: []string{"top", "dead"},
		Subscriptions: []queue.SubscriptionSpec{
			{
				Name: "sub", Topic: "top", DeadLetterTopic: "dead", MaxAttempts: attempts,
				MinBackoff: 10 * time.Second, MaxBackoff: 600 * time.Second,
			},
			{Name: "dead-sub", Topic: "dead"},
		},
	}
}

func newQueue(t testing.TB, o memqueue.Options, top queue.Topology) *memqueue.Queue {
	t.Helper()
	q := memqueue.New(o)
	if err := q.Create(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	return q
}

// start receives until the returned function is called.
func start(t testing.TB, q queue.Queue, sub string, fc queue.FlowControl, h queue.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Subscriber(sub, fc).Receive(ctx, h) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Receive: %v", err)
		}
	}
}

// publishUntilDone publishes as a caller does that repeats what may not have been published.
func publishUntilDone(t testing.TB, p queue.Publisher, m *queue.Message) {
	t.Helper()
	for {
		_, err := p.Publish(t.Context(), m)
		if err == nil {
			return
		}
		if code.Of(err) != code.Unavailable {
			t.Errorf("Publish: %v", err)
			return
		}
	}
}

func TestEverythingArrivesUnderEveryFault(t *testing.T) {
	t.Parallel()
	const messages = 2000
	kinds := []fault.Kind{
		fault.Redelivered, fault.LeaseExpired, fault.Reordered,
		fault.PublishFails, fault.PublishLost, fault.NoAttempt,
	}
	synctest.Test(t, func(t *testing.T) {
		faults := fault.New(7, fault.Everything(0.2))
		q := newQueue(t, memqueue.Options{Faults: faults}, topology(queue.MaxAttempts))
		var mu sync.Mutex
		seen := map[string]int{}
		stop := start(t, q, "sub", queue.FlowControl{MaxMessages: 50},
			func(_ context.Context, m *queue.Message) queue.Disposition {
				mu.Lock()
				defer mu.Unlock()
				seen[string(m.Data)]++
				if seen[string(m.Data)] == 1 && len(seen)%3 == 0 {
					return queue.Nack
				}
				return queue.Ack
			})
		p := q.Publisher("top")
		for i := range messages {
			publishUntilDone(t, p, &queue.Message{Data: []byte(strconv.Itoa(i))})
		}
		if err := q.WaitIdle(t.Context(), "sub"); err != nil {
			t.Fatal(err)
		}
		stop()
		if len(seen) != messages {
			t.Errorf("%d of %d messages arrived", len(seen), messages)
		}
		struck := faults.Struck()
		for _, k := range kinds {
			if struck[k] == 0 {
				t.Errorf("fault %s never struck", k)
			}
		}
		if s := q.Stats("sub"); s.Backlog != 0 || s.Outstanding != 0 || s.DeadLettered != 0 {
			t.Errorf("stats after all: %+v", s)
		}
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind fault.Kind
		want memqueue.Stats // after two messages were acked whenever they came
		errs int
	}{
		{fault.Redelivered, memqueue.Stats{Published: 2, Delivered: 4, Acked: 4}, 0},
		{fault.LeaseExpired, memqueue.Stats{Published: 2, Delivered: 4, Acked: 2, Expired: 2}, 0},
		{fault.Reordered, memqueue.Stats{Published: 2, Delivered: 2, Acked: 2}, 0},
		{fault.PublishFails, memqueue.Stats{}, 2},
		{fault.PublishLost, memqueue.Stats{Published: 2, Delivered: 2, Acked: 2}, 2},
		{fault.NoAttempt, memqueue.Stats{Published: 2, Delivered: 2, Acked: 2}, 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			o := memqueue.Options{Faults: fault.New(1, fault.Plan{tt.kind: 1})}
			q := newQueue(t, o, topology(queue.MaxAttempts))
			errs := 0
			for _, data := range []string{"first", "second"} {
				_, err := q.Publisher("top").Publish(t.Context(), &queue.Message{Data: []byte(data)})
				if code.Of(err) == code.Unavailable {
					errs++
				}
			}
			if errs != tt.errs {
				t.Errorf("%d publishes unavailable, want %d", errs, tt.errs)
			}
			var order []string
			var attempts int
			stop := start(t, q, "sub", queue.FlowControl{MaxMessages: 1},
				func(_ context.Context, m *queue.Message) queue.Disposition {
					order = append(order, string(m.Data))
					attempts += m.Attempt
					return queue.Ack
				})
			if err := q.WaitIdle(t.Context(), "sub"); err != nil {
				t.Fatal(err)
			}
			stop()
			if got := q.Stats("sub"); got != tt.want {
				t.Errorf("stats = %+v, want %+v", got, tt.want)
			}
			if reordered := len(order) > 0 && order[0] == "second"; reordered != (tt.kind == fault.Reordered) {
				t.Errorf("order = %v", order)
			}
			if none := len(order) > 0 && attempts == 0; none != (tt.kind == fault.NoAttempt) {
				t.Errorf("attempts add up to %d", attempts)
			}
		})
	}
}

func TestDeadLetterSurvivesFailingPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := fault.New(3, fault.Plan{fault.PublishFails: 0.7})
		q := newQueue(t, memqueue.Options{Faults: faults}, topology(queue.MinAttempts))
		for range 20 {
			publishUntilDone(t, q.Publisher("top"), &queue.Message{Data: []byte("poison")})
		}
		nack := func(context.Context, *queue.Message) queue.Disposition { return queue.Nack }
		stop := start(t, q, "sub", queue.FlowControl{}, nack)
		if err := q.WaitIdle(t.Context(), "sub"); err != nil {
			t.Fatal(err)
		}
		stop()
		if s := q.Stats("sub"); s.DeadLettered != 20 || s.Delivered <= 20*queue.MinAttempts {
			t.Errorf("%+v, want 20 dead letters, and more deliveries than without faults", s)
		}
		if s := q.Stats("dead-sub"); s.Backlog != 20 {
			t.Errorf("%d messages on the dead-letter subscription, want 20", s.Backlog)
		}
	})
}
