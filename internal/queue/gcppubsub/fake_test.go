package gcppubsub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/gcppubsub"
)

// fake starts Google's in-process fake, for errors that no emulator gives, and a client of it.
func fake(t *testing.T, o gcppubsub.Options, reactors ...pstest.ServerReactorOption) (*pstest.Server, *gcppubsub.Client) {
	t.Helper()
	srv := pstest.NewServer(reactors...)
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("close fake: %v", err)
		}
	})
	o.EmulatorHost = srv.Addr
	c := open(t, o)
	top := queue.Topology{
		Topics:        []string{"top"},
		Subscriptions: []queue.SubscriptionSpec{{Name: "sub", Topic: "top"}},
	}
	if err := c.Create(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	return srv, c
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	const quoted = "jane@example.com"
	tests := []struct {
		grpc   codes.Code
		want   code.Code
		quotes bool // whether the service's text is kept
	}{
		{codes.NotFound, code.NotFound, true},
		{codes.PermissionDenied, code.Denied, true},
		{codes.Unauthenticated, code.Denied, true},
		{codes.InvalidArgument, code.Invalid, false},
		{codes.OutOfRange, code.Invalid, false},
		{codes.FailedPrecondition, code.Conflict, false},
		{codes.DataLoss, code.Internal, false},
		{codes.Unimplemented, code.Internal, false},
		// The client retries these until its own timeout.
		{codes.Unknown, code.Unavailable, false},
		{codes.Unavailable, code.Unavailable, false},
		{codes.ResourceExhausted, code.Unavailable, false},
		{codes.Internal, code.Unavailable, false},
	}
	for _, tt := range tests {
		t.Run(tt.grpc.String(), func(t *testing.T) {
			t.Parallel()
			_, c := fake(t, gcppubsub.Options{PublishTimeout: 200 * time.Millisecond},
				pstest.WithErrorInjection("Publish", tt.grpc, quoted))
			_, err := c.Publisher("top").Publish(t.Context(), &queue.Message{Data: []byte("x")})
			if code.Of(err) != tt.want {
				t.Fatalf("Publish: %v, want %v", err, tt.want)
			}
			if got := strings.Contains(err.Error(), quoted); got && !tt.quotes {
				t.Errorf("error %q tells what the service quoted", err)
			} else if !got && tt.quotes {
				t.Errorf("error %q keeps no resource name", err)
			}
		})
	}
}

// reaction is a pstest.Reactor.
type reaction func(req any) (handled bool, ret any, err error)

func (r reaction) React(req any) (handled bool, ret any, err error) { return r(req) }

func TestPublishReturnsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	_, c := fake(t, gcppubsub.Options{}, pstest.ServerReactorOption{
		FuncName: "Publish",
		Reactor: reaction(func(any) (bool, any, error) {
			entered <- struct{}{}
			<-release
			return false, nil, nil
		}),
	})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Publisher("top").Publish(ctx, &queue.Message{Data: []byte("x")})
		done <- err
	}()
	<-entered
	cancel()
	if err := <-done; code.Of(err) != code.Canceled {
		t.Errorf("Publish: %v, want %v", err, code.Canceled)
	}
}

func TestReceiveSendsAcksBeforeItReturns(t *testing.T) {
	t.Parallel()
	const messages = 200
	srv, c := fake(t, gcppubsub.Options{})
	for range messages {
		srv.Publish("projects/"+project+"/topics/top", []byte("x"), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var handled atomic.Int32
	err := c.Subscriber("sub", queue.FlowControl{}).Receive(ctx, func(context.Context, *queue.Message) queue.Disposition {
		if handled.Add(1) == messages {
			cancel()
		}
		return queue.Ack
	})
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	for _, m := range srv.Messages() {
		if m.Acks == 0 {
			t.Fatal("Receive returned before the service had every ack")
		}
	}
}

func TestReceiveDoesNotWaitForeverForAcks(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv, c := fake(t, gcppubsub.Options{}, pstest.ServerReactorOption{
		FuncName: "Acknowledge",
		Reactor: reaction(func(any) (bool, any, error) {
			<-release
			return false, nil, nil
		}),
	})
	t.Cleanup(func() { close(release) })
	srv.Publish("projects/"+project+"/topics/top", []byte("x"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const limit = 300 * time.Millisecond
	var start time.Time
	err := c.Subscriber("sub", queue.FlowControl{Shutdown: limit}).Receive(ctx,
		func(context.Context, *queue.Message) queue.Disposition {
			start = time.Now()
			cancel()
			return queue.Ack
		})
	if d := time.Since(start); err != nil || d < limit || d > limit+5*time.Second {
		t.Errorf("Receive = %v after %v, want nil after about %v", err, d, limit)
	}
}

func TestDescribeDetachedSubscription(t *testing.T) {
	t.Parallel()
	for _, s := range []*pubsubpb.Subscription{{Detached: true}, {Topic: "_deleted-topic_"}} {
		_, c := fake(t, gcppubsub.Options{}, pstest.ServerReactorOption{
			FuncName: "GetSubscription",
			Reactor:  reaction(func(any) (bool, any, error) { return true, s, nil }),
		})
		if _, err := c.Describe(t.Context(), "sub"); code.Of(err) != code.NotFound {
			t.Errorf("Describe: %v, want %v", err, code.NotFound)
		}
	}
}

func TestTracing(t *testing.T) {
	t.Parallel()
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	})
	for _, enabled := range []bool{false, true} {
		srv, c := fake(t, gcppubsub.Options{EnableTracing: enabled})
		attributes := map[string]string{"k": "v"}
		ctx := trace.ContextWithSpanContext(t.Context(), span)
		m := &queue.Message{Data: []byte("x"), Attributes: attributes}
		if _, err := c.Publisher("top").Publish(ctx, m); err != nil {
			t.Fatal(err)
		}
		parent := srv.Messages()[0].Attributes["googclient_traceparent"]
		if got := strings.Contains(parent, span.TraceID().String()); got != enabled {
			t.Errorf("tracing %v: trace parent %q", enabled, parent)
		}
		if len(attributes) != 1 {
			t.Errorf("tracing %v: the caller's attributes were changed", enabled)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	bad := map[string]gcppubsub.Options{
		"no project":       {},
		"negative timeout": {Project: project, PublishTimeout: -1},
	}
	for name, o := range bad {
		if _, err := gcppubsub.Open(t.Context(), o); err == nil {
			t.Errorf("%s: Open returned no error", name)
		}
	}
}
