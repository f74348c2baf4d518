// Package gcppubsub is the queue on Google Cloud Pub/Sub, or on its emulator.
//
// Delivery is at least once. A message is acknowledged only after its handler returned Ack, and Receive
// returns only after the acknowledgements have been sent, or its shutdown limit has passed.
//
// Messages that the service sends while a Receive shuts down come back when their lease ends.
package gcppubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/usherhq/usher/internal/queue"
)

// Options configure a Client.
type Options struct {
	Project string // required
	// EmulatorHost is the host:port of the Pub/Sub emulator; empty for the service.
	EmulatorHost string
	// EnableTracing records OpenTelemetry spans and carries the trace context in message attributes.
	EnableTracing bool

	// PublishTimeout bounds a publish request, retries included, after its caller may have given up; 0 is 15 s.
	PublishTimeout time.Duration

	// ClientOptions are added to the Google client's, such as credentials.
	ClientOptions []option.ClientOption
}

// Validate reports a missing or impossible option.
func (o *Options) Validate() error {
	var errs []error
	if o.Project == "" {
		errs = append(errs, errors.New("project is required"))
	}
	if o.PublishTimeout < 0 {
		errs = append(errs, errors.New("publish timeout must not be negative"))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 15 * time.Second
	}
}

// Client is a queue.Queue on one project's Pub/Sub. It is safe for concurrent use.
type Client struct {
	client  *pubsub.Client
	options Options

	mu         sync.Mutex
	publishers map[string]*publisher
	closed     bool
}

var (
	_ queue.Queue = (*Client)(nil)
	_ queue.Guard = (*Client)(nil)
)

// Open returns a client. It connects in the background: an unreachable service shows in the first call.
func Open(ctx context.Context, o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("pubsub: %w", err)
	}
	o.setDefaults()
	c := &Client{options: o, publishers: map[string]*publisher{}}
	var opts []option.ClientOption
	if o.EmulatorHost != "" {
		opts = append(opts,
			option.WithEndpoint(o.EmulatorHost),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
			option.WithoutAuthentication(),
			option.WithTelemetryDisabled(),
		)
	}
	opts = append(opts, o.ClientOptions...)
	var err error
	c.client, err = pubsub.NewClientWithConfig(ctx, o.Project,
		&pubsub.ClientConfig{EnableOpenTelemetryTracing: o.EnableTracing}, opts...)
	if err != nil {
		return nil, fmt.Errorf("open pubsub: %w", err)
	}
	return c, nil
}

// Publisher returns the publisher to topic, which need not exist yet.
func (c *Client) Publisher(topic string) queue.Publisher {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.publishers[topic]
	if !ok {
		p = newPublisher(c.client.Publisher(topic), &c.options)
		c.publishers[topic] = p
		if c.closed {
			p.p.Stop()
		}
	}
	return p
}

// Subscriber returns a subscriber to subscription, which need not exist yet.
func (c *Client) Subscriber(subscription string, fc queue.FlowControl) queue.Subscriber {
	return subscriber{c: c, name: subscription, fc: fc.WithDefaults()}
}

// Close sends what is being published and closes the connections; a Receive still running ends with an
// error. Closing again does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	publishers := c.publishers
	c.publishers = map[string]*publisher{}
	c.mu.Unlock()
	for _, p := range publishers {
		p.p.Stop()
	}
	if err := c.client.Close(); err != nil {
		return fmt.Errorf("close pubsub: %w", err)
	}
	return nil
}

func (c *Client) topicName(topic string) string {
	return "projects/" + c.options.Project + "/topics/" + topic
}

func (c *Client) subscriptionName(subscription string) string {
	return "projects/" + c.options.Project + "/subscriptions/" + subscription
}
