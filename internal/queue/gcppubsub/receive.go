package gcppubsub

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/queue"
)

type subscriber struct {
	c    *Client
	name string
	fc   queue.FlowControl
}

// Receive opens fc.Streams streaming pulls. When handlers hang at the end, it leaves them and their messages'
// leases behind, until they return or fc.MaxHold has passed.
func (s subscriber) Receive(ctx context.Context, h queue.Handler) error {
	if ctx.Err() != nil {
		return nil
	}
	sub := s.c.client.Subscriber(s.name) // a new one: each allows a single Receive at a time
	sub.ReceiveSettings = settings(s.fc)
	done := make(chan struct{})
	var failed error // set before done is closed
	go func() {
		defer close(done)
		failed = sub.Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
			growStack(len(m.ID))
			if h(ctx, received(m)) == queue.Ack {
				m.Ack()
			} else {
				m.Nack()
			}
		})
	}()
	select {
	case <-done:
		return s.ended(ctx, failed)
	case <-ctx.Done():
	}
	limit := time.NewTimer(s.fc.Shutdown)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
	return nil
}

// growStack makes room on a new goroutine's stack at once, 16 KiB: a handler needs most of it, and growing step by step,
// with everything copied each time, costs about as much as decoding a message does.
//
//go:noinline
func growStack(i int) byte {
	var room [8 << 10]byte
	return room[i%len(room)]
}

func (s subscriber) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // receiving was to end, so its error no longer matters
	}
	if err == nil {
		err = errStreamsClosed
	}
	return classify(ctx, "receive", err)
}

// errStreamsClosed is for streams that end without error although nobody asked, as on Close.
var errStreamsClosed = status.Error(codes.Unavailable, "streams closed")

func settings(fc queue.FlowControl) pubsub.ReceiveSettings {
	return pubsub.ReceiveSettings{
		NumGoroutines: fc.Streams,
		// Per stream, the service itself keeps the bounds and sends to the stream that has room.
		EnablePerStreamFlowControl: fc.Streams > 1,
		MaxOutstandingMessages:     max(fc.MaxMessages/fc.Streams, 1),
		MaxOutstandingBytes:        max(fc.MaxBytes/fc.Streams, 1),
		// One length for every extension: after a crash messages return within it, and no RPCs are spent on
		// learning it.
		MinDurationPerAckExtension: fc.Lease,
		MaxDurationPerAckExtension: fc.Lease,
		MaxExtension:               fc.MaxHold,
		// Without limit here; Receive has its own. Given a limit, the client cancels its streams first, then
		// takes that for a failure and drops the acks it has not yet sent.
		ShutdownOptions: &pubsub.ShutdownOptions{
			Behavior: pubsub.ShutdownBehaviorWaitForProcessing,
			Timeout:  -1,
		},
	}
}

func received(m *pubsub.Message) *queue.Message {
	out := &queue.Message{Data: m.Data, Attributes: m.Attributes, ID: m.ID, PublishTime: m.PublishTime}
	if m.DeliveryAttempt != nil {
		out.Attempt = *m.DeliveryAttempt
	}
	return out
}
