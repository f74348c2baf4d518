package queuetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/queue"
)

func roundTrip(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	sent := []*queue.Message{
		{Data: []byte("both"), Attributes: map[string]string{"tenant_id": "acme", "empty": ""}},
		{Data: []byte{0, 0xff, '\n'}},
		{Attributes: map[string]string{"only": "attributes"}},
	}
	want := map[string]*queue.Message{}
	for i, id := range mustPublish(t, q, n.topic, sent...) {
		want[id] = sent[i]
	}
	if len(want) != len(sent) {
		t.Fatalf("%d ids for %d messages", len(want), len(sent))
	}
	got := make(chan *queue.Message, 10)
	r := receive(t, q, n.sub, queue.FlowControl{}, collect(got))
	for range sent {
		m := await(t, got, "a message")
		w := want[m.ID]
		if w == nil {
			t.Fatal("a message that was not published, or one twice")
		}
		delete(want, m.ID)
		if string(m.Data) != string(w.Data) {
			t.Errorf("data = %q, want %q", m.Data, w.Data)
		}
		if len(m.Attributes)+len(w.Attributes) > 0 && !cmp.Equal(m.Attributes, w.Attributes) {
			t.Errorf("attributes: %s", cmp.Diff(w.Attributes, m.Attributes))
		}
		if m.PublishTime.IsZero() {
			t.Error("no publish time")
		}
		if m.Attempt != 0 {
			t.Errorf("attempt = %d without a dead-letter policy, want 0", m.Attempt)
		}
	}
	r.stop(t)
}

func fanOut(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	other := n.sub + "-2"
	mustCreate(t, q, queue.Topology{Subscriptions: []queue.SubscriptionSpec{{Name: other, Topic: n.topic}}})
	mustPublish(t, q, n.topic, text("to both"))
	for _, sub := range []string{n.sub, other} {
		got := make(chan *queue.Message, 10)
		r := receive(t, q, sub, queue.FlowControl{}, collect(got))
		if m := await(t, got, "a message"); string(m.Data) != "to both" {
			t.Errorf("data = %q", m.Data)
		}
		r.stop(t)
	}
}

func nackRedelivers(t *testing.T, q queue.Queue) {
	const backoff = time.Second
	n := setup(t, q, queue.SubscriptionSpec{MinBackoff: backoff, MaxBackoff: 2 * backoff})
	mustPublish(t, q, n.topic, text("again"))
	var count atomic.Int32
	times := make(chan time.Time, 10)
	r := receive(t, q, n.sub, queue.FlowControl{}, func(context.Context, *queue.Message) queue.Disposition {
		times <- time.Now()
		if count.Add(1) < 3 {
			return queue.Nack
		}
		return queue.Ack
	})
	first := await(t, times, "the first delivery")
	await(t, times, "the second delivery") // the emulator does not delay the first redelivery
	if d := await(t, times, "the third delivery").Sub(first); d < backoff {
		t.Errorf("redelivered twice within %v, want at least %v", d, backoff)
	}
	r.stop(t)
}

func attempts(t *testing.T, q queue.Queue) {
	n := newNames()
	dead := n.topic + "-dead"
	mustCreate(t, q, queue.Topology{
		Topics: []string{n.topic, dead},
		Subscriptions: []queue.SubscriptionSpec{{
			Name: n.sub, Topic: n.topic, DeadLetterTopic: dead, MaxAttempts: 5,
			MinBackoff: 100 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
		}},
	})
	mustPublish(t, q, n.topic, text("again"))
	got := make(chan int, 10)
	r := receive(t, q, n.sub, queue.FlowControl{}, func(_ context.Context, m *queue.Message) queue.Disposition {
		got <- m.Attempt
		if m.Attempt < 3 {
			return queue.Nack
		}
		return queue.Ack
	})
	for want := 1; want <= 3; want++ {
		if a := await(t, got, "a delivery"); a != want {
			t.Fatalf("attempt = %d, want %d", a, want)
		}
	}
	r.stop(t)
}

func deadLetter(t *testing.T, q queue.Queue) {
	n := newNames()
	dead, deadSub := n.topic+"-dead", n.sub+"-dead"
	mustCreate(t, q, queue.Topology{
		Topics: []string{n.topic, dead},
		Subscriptions: []queue.SubscriptionSpec{
			{
				Name: n.sub, Topic: n.topic, DeadLetterTopic: dead, MaxAttempts: 5,
				MinBackoff: 100 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
			},
			{Name: deadSub, Topic: dead},
		},
	})
	mustPublish(t, q, n.topic, &queue.Message{Data: []byte("poison"), Attributes: map[string]string{"k": "v"}})
	tries := make(chan int, 100)
	r := receive(t, q, n.sub, queue.FlowControl{}, func(_ context.Context, m *queue.Message) queue.Disposition {
		tries <- m.Attempt
		return queue.Nack
	})
	got := make(chan *queue.Message, 10)
	d := receive(t, q, deadSub, queue.FlowControl{}, collect(got))
	m := await(t, got, "the dead letter")
	r.stop(t)
	d.stop(t)
	if len(tries) != 5 {
		t.Errorf("%d deliveries before the dead letter, want 5", len(tries))
	}
	if string(m.Data) != "poison" || m.Attributes["k"] != "v" {
		t.Errorf("data %q and attribute %q did not survive", m.Data, m.Attributes["k"])
	}
	const prefix = "CloudPubSubDeadLetterSource"
	if s := m.Attributes[prefix+"DeliveryCount"]; s != "5" {
		t.Errorf("delivery count = %q, want 5", s)
	}
	if s := m.Attributes[prefix+"Subscription"]; s != n.sub {
		t.Errorf("source subscription = %q, want %q", s, n.sub)
	}
	if m.Attributes[prefix+"SubscriptionProject"] == "" {
		t.Error("no source project")
	}
	if _, err := time.Parse(time.RFC3339Nano, m.Attributes[prefix+"TopicPublishTime"]); err != nil {
		t.Errorf("source publish time: %v", err)
	}
}

func leaseIsExtended(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{AckDeadline: queue.MinAckDeadline})
	mustPublish(t, q, n.topic, text("slow"))
	var deliveries atomic.Int32
	finished := make(chan struct{})
	fc := queue.FlowControl{Lease: queue.MinAckDeadline, MaxHold: time.Minute, Shutdown: patience}
	r := receive(t, q, n.sub, fc, func(context.Context, *queue.Message) queue.Disposition {
		if deliveries.Add(1) == 1 {
			<-time.After(queue.MinAckDeadline + 4*time.Second) // the work of a slow handler
			close(finished)
		}
		return queue.Ack
	})
	await(t, finished, "the slow handler")
	r.stop(t)
	if d := deliveries.Load(); d != 1 {
		t.Errorf("%d deliveries, want 1", d)
	}
}

func maxHoldEndsLease(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{AckDeadline: queue.MinAckDeadline})
	mustPublish(t, q, n.topic, text("held"))
	var count atomic.Int32
	times := make(chan time.Time, 10)
	fc := queue.FlowControl{Lease: queue.MinAckDeadline, MaxHold: time.Second}
	r := receive(t, q, n.sub, fc, func(ctx context.Context, _ *queue.Message) queue.Disposition {
		times <- time.Now()
		if count.Add(1) == 1 {
			<-ctx.Done() // holds on until the test has seen enough
		}
		return queue.Ack
	})
	first := await(t, times, "the first delivery")
	if d := await(t, times, "the delivery after the lease").Sub(first); d < time.Second {
		t.Errorf("redelivered after %v, before the hold ended", d)
	}
	r.stop(t)
}
