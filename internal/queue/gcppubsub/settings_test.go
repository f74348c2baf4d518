package gcppubsub

import (
	"context"
	"errors"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	wait := &pubsub.ShutdownOptions{Timeout: -1}
	tests := []struct {
		name string
		fc   queue.FlowControl
		want pubsub.ReceiveSettings
	}{
		{
			name: "one stream",
			fc: queue.FlowControl{
				MaxMessages: 100, MaxBytes: 1000, Lease: 20 * time.Second, MaxHold: time.Minute, Shutdown: time.Second,
			},
			want: pubsub.ReceiveSettings{
				NumGoroutines: 1, MaxOutstandingMessages: 100, MaxOutstandingBytes: 1000,
				MinDurationPerAckExtension: 20 * time.Second, MaxDurationPerAckExtension: 20 * time.Second,
				MaxExtension: time.Minute, ShutdownOptions: wait,
			},
		},
		{
			name: "the bounds are shared by the streams",
			fc:   queue.FlowControl{MaxMessages: 10, MaxBytes: 100, Streams: 4},
			want: pubsub.ReceiveSettings{
				NumGoroutines: 4, EnablePerStreamFlowControl: true,
				MaxOutstandingMessages: 2, MaxOutstandingBytes: 25,
				MinDurationPerAckExtension: 10 * time.Second, MaxDurationPerAckExtension: 10 * time.Second,
				MaxExtension: time.Hour, ShutdownOptions: wait,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tt.want, settings(tt.fc.WithDefaults())); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want code.Code
	}{
		{"nil", t.Context(), nil, code.OK},
		{"the caller's context ended", ended, status.Error(codes.NotFound, ""), code.Canceled},
		{"internal", t.Context(), status.Error(codes.Internal, ""), code.Internal},
		{"aborted", t.Context(), status.Error(codes.Aborted, ""), code.Unavailable},
		{"deadline", t.Context(), status.Error(codes.DeadlineExceeded, ""), code.Unavailable},
		{"canceled by the connection", t.Context(), status.Error(codes.Canceled, ""), code.Unavailable},
		{"already exists", t.Context(), status.Error(codes.AlreadyExists, ""), code.Conflict},
		{"unknown", t.Context(), status.Error(codes.Unknown, ""), code.Unknown},
		{"no status", t.Context(), errors.New("other"), code.Unknown},
		{"the client's deadline", t.Context(), context.DeadlineExceeded, code.Unavailable},
		{"oversized", t.Context(), pubsub.ErrOversizedMessage, code.TooLarge},
		{"stopped", t.Context(), pubsub.ErrPublisherStopped, code.Unavailable},
	}
	for _, tt := range tests {
		if err := classify(tt.ctx, "op", tt.err); code.Of(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	c := &Client{options: Options{Project: "demo"}}
	tests := []struct {
		name string
		spec queue.SubscriptionSpec
		want *pubsubpb.Subscription
	}{
		{
			"the service's defaults",
			queue.SubscriptionSpec{Name: "sub", Topic: "top"},
			&pubsubpb.Subscription{
				Name: "projects/demo/subscriptions/sub", Topic: "projects/demo/topics/top", ExpirationPolicy: &pubsubpb.ExpirationPolicy{},
			},
		},
		{
			"every setting",
			queue.SubscriptionSpec{
				Name: "sub", Topic: "top", AckDeadline: 15 * time.Second, MinBackoff: 10 * time.Second, MaxBackoff: time.Minute,
				DeadLetterTopic: "dead", MaxAttempts: 100, Retention: 31 * 24 * time.Hour,
			},
			&pubsubpb.Subscription{
				Name: "projects/demo/subscriptions/sub", Topic: "projects/demo/topics/top", AckDeadlineSeconds: 15,
				RetryPolicy: &pubsubpb.RetryPolicy{
					MinimumBackoff: durationpb.New(10 * time.Second), MaximumBackoff: durationpb.New(time.Minute),
				},
				DeadLetterPolicy:         &pubsubpb.DeadLetterPolicy{DeadLetterTopic: "projects/demo/topics/dead", MaxDeliveryAttempts: 100},
				MessageRetentionDuration: durationpb.New(31 * 24 * time.Hour), ExpirationPolicy: &pubsubpb.ExpirationPolicy{},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tt.want, c.subscription(&tt.spec), protocmp.Transform()); d != "" {
				t.Error(d)
			}
		})
	}
}
