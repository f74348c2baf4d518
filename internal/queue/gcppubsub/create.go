package gcppubsub

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/usherhq/usher/internal/queue"
)

// Create makes what is missing of t; it stops at the first error.
func (c *Client) Create(ctx context.Context, t queue.Topology) error {
	if err := queue.CheckTopology(t); err != nil {
		return err
	}
	for _, name := range t.Topics {
		_, err := c.client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: c.topicName(name)})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return classify(ctx, "create topic", err)
		}
	}
	for i := range t.Subscriptions {
		_, err := c.client.SubscriptionAdminClient.CreateSubscription(ctx, c.subscription(&t.Subscriptions[i]))
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return classify(ctx, "create subscription", err)
		}
	}
	return nil
}

func (c *Client) subscription(spec *queue.SubscriptionSpec) *pubsubpb.Subscription {
	s := &pubsubpb.Subscription{
		Name:               c.subscriptionName(spec.Name),
		Topic:              c.topicName(spec.Topic),
		AckDeadlineSeconds: int32(spec.AckDeadline / time.Second),
		ExpirationPolicy:   &pubsubpb.ExpirationPolicy{}, // never
	}
	if spec.MaxBackoff > 0 {
		s.RetryPolicy = &pubsubpb.RetryPolicy{
			MinimumBackoff: durationpb.New(spec.MinBackoff),
			MaximumBackoff: durationpb.New(spec.MaxBackoff),
		}
	}
	if spec.Retention > 0 {
		s.MessageRetentionDuration = durationpb.New(spec.Retention)
	}
	if spec.DeadLetterTopic != "" {
		s.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{
			DeadLetterTopic:     c.topicName(spec.DeadLetterTopic),
			MaxDeliveryAttempts: int32(spec.MaxAttempts),
		}
	}
	return s
}
