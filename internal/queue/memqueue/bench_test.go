package memqueue_test

import (
	"context"
	"testing"

	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/memqueue"
)

// BenchmarkPublishReceiveAck is one small message's whole life, with thousands outstanding.
func BenchmarkPublishReceiveAck(b *testing.B) {
	q := newQueue(b, memqueue.Options{}, topology(queue.MaxAttempts))
	fc := queue.FlowControl{MaxMessages: 4000}
	stop := start(b, q, "sub", fc, func(context.Context, *queue.Message) queue.Disposition { return queue.Ack })
	p := q.Publisher("top")
	m := &queue.Message{
		Data:       make([]byte, 200),
		Attributes: map[string]string{"tenant_id": "acme", "source": "midbound"},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Publish(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	if err := q.WaitIdle(b.Context(), "sub"); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	stop()
}

// BenchmarkDrain receives and acks a backlog, while 4,000 handlers hold on to theirs.
func BenchmarkDrain(b *testing.B) {
	const held = 4000
	q := newQueue(b, memqueue.Options{}, topology(queue.MaxAttempts))
	p := q.Publisher("top")
	for range b.N + held {
		publishUntilDone(b, p, &queue.Message{Data: []byte("small")})
	}
	release := make(chan struct{})
	turn := make(chan struct{}, held)
	for range held {
		turn <- struct{}{}
	}
	handled := make(chan struct{}, b.N+held)
	b.ResetTimer()
	stop := start(b, q, "sub", queue.FlowControl{MaxMessages: held + 1000},
		func(context.Context, *queue.Message) queue.Disposition {
			select {
			case <-turn:
				<-release
			default:
				handled <- struct{}{}
			}
			return queue.Ack
		})
	for range b.N {
		<-handled
	}
	b.StopTimer()
	close(release)
	if err := q.WaitIdle(b.Context(), "sub"); err != nil {
		b.Fatal(err)
	}
	stop()
}
