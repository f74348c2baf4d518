package gcppubsub

import (
	"context"
	"errors"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

// deletedTopic is what Pub/Sub gives as the topic of a subscription that outlived it.
const deletedTopic = "_deleted-topic_"

// defaultExpiry is what Pub/Sub means by a subscription without a policy.
const defaultExpiry = 31 * 24 * time.Hour

// Describe returns how a subscription is set up, code.NotFound also for one that is attached to no topic; it needs the
// permission pubsub.subscriptions.get.
func (c *Client) Describe(ctx context.Context, subscription string) (queue.SubscriptionInfo, error) {
	const op = "check subscription"
	s, err := c.client.SubscriptionAdminClient.GetSubscription(ctx,
		&pubsubpb.GetSubscriptionRequest{Subscription: c.subscriptionName(subscription)})
	if err != nil {
		return queue.SubscriptionInfo{}, classify(ctx, op, err)
	}
	if s.GetDetached() || s.GetTopic() == deletedTopic {
		return queue.SubscriptionInfo{}, code.New(code.NotFound, op, errors.New("subscription has no topic"))
	}
	return c.info(s), nil
}

func (c *Client) info(s *pubsubpb.Subscription) queue.SubscriptionInfo {
	info := queue.SubscriptionInfo{
		Topic:       c.shortTopic(s.GetTopic()),
		MinBackoff:  s.GetRetryPolicy().GetMinimumBackoff().AsDuration(),
		MaxBackoff:  s.GetRetryPolicy().GetMaximumBackoff().AsDuration(),
		Retention:   s.GetMessageRetentionDuration().AsDuration(),
		Expiry:      s.GetExpirationPolicy().GetTtl().AsDuration(),
		ExactlyOnce: s.GetEnableExactlyOnceDelivery(),
	}
	if s.GetExpirationPolicy() == nil {
		info.Expiry = defaultExpiry
	}
	if p := s.GetDeadLetterPolicy(); p.GetDeadLetterTopic() != "" {
		info.DeadLetterTopic, info.MaxAttempts = c.shortTopic(p.GetDeadLetterTopic()), int(p.GetMaxDeliveryAttempts())
	}
	return info
}

// shortTopic is the name of a topic of this project; that of another project stays whole.
func (c *Client) shortTopic(name string) string { return strings.TrimPrefix(name, c.topicName("")) }
