package gcppubsub

import (
	"context"
	"maps"
	"time"

	"cloud.google.com/go/pubsub/v2"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

const (
	// publishDelay is how long a publish waits for others to share its request; callers wait for every publish.
	publishDelay = time.Millisecond
	// What is being published is bounded per topic; further publishes wait.
	maxPublishing      = 1000
	maxPublishingBytes = 64 << 20
)

type publisher struct{ p *pubsub.Publisher }

func newPublisher(p *pubsub.Publisher, o *Options) *publisher {
	p.PublishSettings.DelayThreshold = publishDelay
	p.PublishSettings.Timeout = o.PublishTimeout
	p.PublishSettings.FlowControlSettings = pubsub.FlowControlSettings{
		MaxOutstandingMessages: maxPublishing,
		MaxOutstandingBytes:    maxPublishingBytes,
		LimitExceededBehavior:  pubsub.FlowControlBlock,
	}
	return &publisher{p}
}

// Publish waits for the service, ctx, or Options.PublishTimeout, whichever is first.
func (p *publisher) Publish(ctx context.Context, m *queue.Message) (string, error) {
	const op = "publish"
	if err := queue.CheckMessage(m); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", code.New(code.Canceled, op, err)
	}
	// The client may add trace attributes, and may still read the message after ctx has ended.
	out := &pubsub.Message{Data: m.Data, Attributes: maps.Clone(m.Attributes)}
	id, err := p.p.Publish(ctx, out).Get(ctx)
	if err != nil {
		return "", classify(ctx, op, err)
	}
	return id, nil
}
