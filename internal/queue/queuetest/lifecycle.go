package queuetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

func receiveWaitsForHandlers(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	mustPublish(t, q, n.topic, text("running"))
	entered, canceled, leave := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	r := receive(t, q, n.sub, queue.FlowControl{Shutdown: patience},
		func(ctx context.Context, _ *queue.Message) queue.Disposition {
			close(entered)
			<-ctx.Done()
			close(canceled)
			<-leave
			left.Store(true)
			return queue.Ack
		})
	await(t, entered, "the delivery")
	r.cancel()
	await(t, canceled, "the handler's context to end")
	select {
	case <-r.done:
		t.Error("Receive returned before its handler")
	default:
	}
	close(leave)
	r.stop(t)
	if !left.Load() {
		t.Error("Receive returned before its handler")
	}
}

func shutdownLimit(t *testing.T, q queue.Queue) {
	const limit = 500 * time.Millisecond
	n := setup(t, q, queue.SubscriptionSpec{})
	mustPublish(t, q, n.topic, text("hangs"))
	entered, leave, left := make(chan struct{}, 10), make(chan struct{}), make(chan struct{}, 10)
	r := receive(t, q, n.sub, queue.FlowControl{Shutdown: limit},
		func(context.Context, *queue.Message) queue.Disposition {
			entered <- struct{}{}
			<-leave
			left <- struct{}{}
			return queue.Ack
		})
	await(t, entered, "the delivery")
	start := time.Now()
	r.stop(t)
	if d := time.Since(start); d < limit || d > limit+5*time.Second {
		t.Errorf("Receive took %v to return, want about %v", d, limit)
	}
	if len(left) != 0 {
		t.Error("the handler was not hanging")
	}
	close(leave)
	await(t, left, "the handler")
}

func ackedStaysAcked(t *testing.T, q queue.Queue) {
	const messages = 20
	n := setup(t, q, queue.SubscriptionSpec{AckDeadline: queue.MinAckDeadline})
	publishMany(t, q, n.topic, messages, 10)
	got := make(chan *queue.Message, 10*messages)
	r := receive(t, q, n.sub, queue.FlowControl{Lease: queue.MinAckDeadline}, collect(got))
	for range messages {
		await(t, got, "a message")
	}
	r.stop(t)
	again := receive(t, q, n.sub, queue.FlowControl{}, collect(got))
	<-time.After(queue.MinAckDeadline + 2*time.Second) // any lease has ended by now
	again.stop(t)
	if len(got) != 0 {
		t.Errorf("%d of %d acked messages came back", len(got), messages)
	}
}

func unackedComesBack(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{AckDeadline: queue.MinAckDeadline})
	mustPublish(t, q, n.topic, text("unfinished"))
	entered := make(chan struct{}, 10)
	r := receive(t, q, n.sub, queue.FlowControl{}, func(ctx context.Context, _ *queue.Message) queue.Disposition {
		entered <- struct{}{}
		<-ctx.Done()
		return queue.Nack
	})
	await(t, entered, "the delivery")
	r.stop(t)
	got := make(chan *queue.Message, 10)
	r = receive(t, q, n.sub, queue.FlowControl{}, collect(got))
	if m := await(t, got, "the message to come back"); string(m.Data) != "unfinished" {
		t.Errorf("data = %q", m.Data)
	}
	r.stop(t)
}

func create(t *testing.T, q queue.Queue) {
	n := newNames()
	top := queue.Topology{
		Topics:        []string{n.topic},
		Subscriptions: []queue.SubscriptionSpec{{Name: n.sub, Topic: n.topic}},
	}
	mustCreate(t, q, top)
	mustPublish(t, q, n.topic, text("kept"))
	mustCreate(t, q, top) // changes nothing
	got := make(chan *queue.Message, 10)
	r := receive(t, q, n.sub, queue.FlowControl{}, collect(got))
	await(t, got, "what was published before the second Create")
	r.stop(t)

	missing := newNames()
	err := q.Create(t.Context(), queue.Topology{
		Subscriptions: []queue.SubscriptionSpec{{Name: missing.sub, Topic: missing.topic}},
	})
	if code.Of(err) != code.NotFound {
		t.Errorf("subscription to a missing topic: %v, want %v", err, code.NotFound)
	}
	err = q.Create(t.Context(), queue.Topology{
		Topics: []string{missing.topic},
		Subscriptions: []queue.SubscriptionSpec{{
			Name: missing.sub, Topic: missing.topic, DeadLetterTopic: missing.topic + "-dead", MaxAttempts: 5,
		}},
	})
	if code.Of(err) != code.NotFound {
		t.Errorf("missing dead-letter topic: %v, want %v", err, code.NotFound)
	}
	if err := q.Create(t.Context(), queue.Topology{Topics: []string{"no spaces"}}); code.Of(err) != code.Invalid {
		t.Errorf("bad name: %v, want %v", err, code.Invalid)
	}
}

func describe(t *testing.T, q queue.Queue) {
	dead := newNames()
	mustCreate(t, q, queue.Topology{Topics: []string{dead.topic}})
	n := setup(t, q, queue.SubscriptionSpec{
		MinBackoff: 20 * time.Second, MaxBackoff: time.Minute, DeadLetterTopic: dead.topic, MaxAttempts: 17,
	})
	got, err := q.Describe(t.Context(), n.sub)
	if err != nil || got.Retention < 7*24*time.Hour {
		t.Errorf("Describe: %+v, %v", got, err)
	}
	got.Retention = 0
	want := queue.SubscriptionInfo{
		Topic: n.topic, MinBackoff: 20 * time.Second, MaxBackoff: time.Minute, DeadLetterTopic: dead.topic, MaxAttempts: 17,
	}
	if got != want {
		t.Errorf("Describe: %+v, want %+v", got, want)
	}
	plain := setup(t, q, queue.SubscriptionSpec{})
	if got, err = q.Describe(t.Context(), plain.sub); err != nil || got.DeadLetterTopic != "" || got.MaxAttempts != 0 ||
		got.MinBackoff != 0 || got.Expiry != 0 || got.ExactlyOnce {
		t.Errorf("Describe of a plain one: %+v, %v", got, err)
	}
	if _, err := q.Describe(t.Context(), n.sub+"-missing"); code.Of(err) != code.NotFound {
		t.Errorf("Describe of a missing subscription: %v, want %v", err, code.NotFound)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Describe(ctx, n.sub); code.Of(err) != code.Canceled {
		t.Errorf("Describe under an ended context: %v, want %v", err, code.Canceled)
	}
	if err := q.Create(ctx, queue.Topology{Topics: []string{n.topic}}); code.Of(err) != code.Canceled {
		t.Errorf("Create under an ended context: %v, want %v", err, code.Canceled)
	}
	guardAnswers(t, q, n.sub, dead.topic)
}

// guardAnswers holds a driver that knows of permissions to what it may answer where there are none.
func guardAnswers(t *testing.T, q queue.Queue, subscription, topic string) {
	g, ok := q.(queue.Guard)
	if !ok {
		return
	}
	if missing, err := g.MissingGrants(t.Context(), subscription, topic); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("MissingGrants: %v, %v, want %v", missing, err, errors.ErrUnsupported)
	}
}

func closes(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	got := make(chan *queue.Message, 10)
	r := receive(t, q, n.sub, queue.FlowControl{}, collect(got))
	p := q.Publisher(n.topic)
	if _, err := p.Publish(t.Context(), text("before")); err != nil {
		t.Fatalf("Publish: %v", err)
	}
	await(t, got, "a message")
	for range 2 {
		if err := q.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if err := r.wait(t); err == nil {
		t.Error("Receive returned nil although its context had not ended")
	}
	for _, p := range []queue.Publisher{p, q.Publisher(n.topic)} {
		if _, err := p.Publish(t.Context(), text("after")); code.Of(err) != code.Unavailable {
			t.Errorf("Publish after Close: %v, want %v", err, code.Unavailable)
		}
	}
	if err := q.Subscriber(n.sub, queue.FlowControl{}).Receive(t.Context(), collect(got)); err == nil {
		t.Error("Receive after Close returned nil")
	}
}
