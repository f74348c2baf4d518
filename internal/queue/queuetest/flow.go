package queuetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/usherhq/usher/internal/queue"
)

func publishMany(t *testing.T, q queue.Queue, topic string, n, size int) {
	t.Helper()
	messages := make([]*queue.Message, n)
	for i := range messages {
		messages[i] = text(fmt.Sprintf("%0*d", size, i))
	}
	mustPublish(t, q, topic, messages...)
}

func maxMessages(t *testing.T, q queue.Queue) {
	const limit, messages = 5, 40
	n := setup(t, q, queue.SubscriptionSpec{})
	publishMany(t, q, n.topic, messages, 10)
	highest := watch(t, q, n.sub, queue.FlowControl{MaxMessages: limit}, messages, limit)
	if highest != limit {
		t.Errorf("%d messages at a time, want %d", highest, limit)
	}
}

func maxMessagesOfAllStreams(t *testing.T, q queue.Queue) {
	const limit, messages = 6, 40
	n := setup(t, q, queue.SubscriptionSpec{})
	publishMany(t, q, n.topic, messages, 10)
	// The service may leave a stream without messages, so no more than one stream's share is sure to come.
	highest := watch(t, q, n.sub, queue.FlowControl{MaxMessages: limit, Streams: 3}, messages, limit/3)
	if highest > limit {
		t.Errorf("%d messages at a time, want at most %d", highest, limit)
	}
}

func maxBytes(t *testing.T, q queue.Queue) {
	const limit, messages, size = 3, 20, 1000
	n := setup(t, q, queue.SubscriptionSpec{})
	publishMany(t, q, n.topic, messages, size)
	highest := watch(t, q, n.sub, queue.FlowControl{MaxBytes: limit * size}, messages, limit)
	if highest != limit {
		t.Errorf("%d messages at a time, want %d", highest, limit)
	}
}

// watch receives all messages, letting none finish before as many as hold are being handled, then one after
// the other. It returns the most that were handled at a time.
func watch(t *testing.T, q queue.Queue, sub string, fc queue.FlowControl, messages, hold int) int {
	t.Helper()
	g := newGauge(10 * messages)
	r := receive(t, q, sub, fc, g.handle)
	highest := 0
	enter := func() { highest = max(highest, await(t, g.entered, "a delivery")) }
	defer close(g.leave) // whatever is redelivered
	for range hold {
		enter()
	}
	for range messages - hold {
		g.leave <- struct{}{}
		enter()
	}
	for range hold {
		g.leave <- struct{}{}
	}
	r.stop(t)
	return highest
}

func receiversShare(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	got := make(chan int, 10_000)
	var receivers [2]*receiving
	for i := range receivers {
		receivers[i] = receive(t, q, n.sub, queue.FlowControl{},
			func(context.Context, *queue.Message) queue.Disposition {
				got <- i
				return queue.Ack
			})
	}
	// How the service divides messages is its own business, so publish until both have had one.
	var had [2]int
	for had[0] == 0 || had[1] == 0 {
		if had[0]+had[1] == cap(got)/2 {
			t.Fatalf("one receiver had all of %d messages", had[0]+had[1])
		}
		mustPublish(t, q, n.topic, text("for either"))
		had[await(t, got, "a message")]++
	}
	for _, r := range receivers {
		r.stop(t)
	}
	if len(got) != 0 {
		t.Errorf("%d messages went to both receivers", len(got))
	}
}
