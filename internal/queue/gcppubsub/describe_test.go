package gcppubsub

import (
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/usherhq/usher/internal/queue"
)

func TestInfo(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	c := &Client{options: Options{Project: "demo"}}
	for _, tt := range []struct {
		name string
		sub  *pubsubpb.Subscription
		want queue.SubscriptionInfo
	}{
		{
			"nothing is set", &pubsubpb.Subscription{Topic: "projects/demo/topics/top"},
			queue.SubscriptionInfo{Topic: "top", Expiry: 31 * day},
		},
		{
			"never expires", &pubsubpb.Subscription{Topic: "projects/demo/topics/top", ExpirationPolicy: &pubsubpb.ExpirationPolicy{}},
			queue.SubscriptionInfo{Topic: "top"},
		},
		{
			"everything is set",
			&pubsubpb.Subscription{
				Topic:       "projects/elsewhere/topics/top",
				RetryPolicy: &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(time.Second), MaximumBackoff: durationpb.New(time.Minute)},
				DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{
					DeadLetterTopic: "projects/demo/topics/dead", MaxDeliveryAttempts: 5,
				},
				MessageRetentionDuration:  durationpb.New(7 * day),
				ExpirationPolicy:          &pubsubpb.ExpirationPolicy{Ttl: durationpb.New(day)},
				EnableExactlyOnceDelivery: true,
			},
			queue.SubscriptionInfo{
				Topic: "projects/elsewhere/topics/top", MinBackoff: time.Second, MaxBackoff: time.Minute, DeadLetterTopic: "dead",
				MaxAttempts: 5, Retention: 7 * day, Expiry: day, ExactlyOnce: true,
			},
		},
	} {
		if got := c.info(tt.sub); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
