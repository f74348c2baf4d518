package queuetest

import (
	"context"
	"testing"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

func publishErrors(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	missing := n.topic + "-missing"
	tests := []struct {
		name  string
		ctx   context.Context
		topic string
		m     *queue.Message
		want  code.Code
	}{
		{"missing topic", t.Context(), missing, text("x"), code.NotFound},
		{"ended context", ended, n.topic, text("x"), code.Canceled},
		// The topic is missing as well: what can never be published is refused before any RPC.
		{"empty", t.Context(), missing, &queue.Message{}, code.Invalid},
		{"too large", t.Context(), missing, &queue.Message{Data: make([]byte, queue.MaxMessage+1)}, code.TooLarge},
		{
			"attribute that is not text", t.Context(), missing,
			&queue.Message{Attributes: map[string]string{"k": "\xff"}}, code.Invalid,
		},
	}
	for _, tt := range tests {
		if _, err := q.Publisher(tt.topic).Publish(tt.ctx, tt.m); code.Of(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func receiveErrors(t *testing.T, q queue.Queue) {
	n := setup(t, q, queue.SubscriptionSpec{})
	got := make(chan *queue.Message, 10)
	err := q.Subscriber(n.sub+"-missing", queue.FlowControl{}).Receive(t.Context(), collect(got))
	if code.Of(err) != code.NotFound {
		t.Errorf("missing subscription: %v, want %v", err, code.NotFound)
	}
	mustPublish(t, q, n.topic, text("not now"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Subscriber(n.sub, queue.FlowControl{}).Receive(ctx, collect(got)); err != nil {
		t.Errorf("ended context: %v, want nil", err)
	}
	if len(got) != 0 {
		t.Error("received under an ended context")
	}
}
