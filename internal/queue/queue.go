// Package queue is the contract of the message queue: what usher needs of Pub/Sub and no more.
//
// Delivery is at least once. Two drivers keep the contract: gcppubsub and the memory twin memqueue. Both are
// held to the queuetest suite.
package queue

import (
	"context"
	"time"
)

// Limits of Pub/Sub that a publish must keep.
const (
	MaxMessage        = 9 << 20 // bytes of data and attributes; the service allows 10 MB a request
	MaxAttributes     = 100
	MaxAttributeKey   = 256
	MaxAttributeValue = 1024
)

// Message is a message as published and as received.
type Message struct {
	Data       []byte
	Attributes map[string]string

	// Set on received messages only.
	ID          string
	PublishTime time.Time
	// Attempt is Pub/Sub's delivery attempt, from 1; 0 where the service does not say (a subscription
	// without dead-letter policy).
	Attempt int
}

// Publisher publishes to one topic. Errors carry a code of package code: Invalid and TooLarge for a message
// that can never be published, NotFound for a missing topic, Unavailable otherwise.
type Publisher interface {
	// Publish returns the message's id once the service has acknowledged it.
	Publish(ctx context.Context, m *Message) (id string, err error)
}

// Disposition is what a handler decided for a message.
type Disposition uint8

// The dispositions.
const (
	Nack Disposition = iota // deliver again, after the subscription's backoff
	Ack                     // done
)

// Handler handles one message. The message's lease is extended while it runs, up to the subscriber's limit.
// Its context ends when receiving ends; work that must finish takes context.WithoutCancel of it.
type Handler func(ctx context.Context, m *Message) Disposition

// Subscriber receives from one subscription.
type Subscriber interface {
	// Receive calls h concurrently, as far as flow control allows, until ctx ends; it then waits for running
	// handlers, up to the subscriber's shutdown limit, and returns nil. Any other return is an error:
	// code.NotFound for a missing subscription, code.Denied without permission.
	Receive(ctx context.Context, h Handler) error
}

// FlowControl bounds what one Receive holds at a time.
type FlowControl struct {
	MaxMessages int           // outstanding messages
	MaxBytes    int           // outstanding bytes
	Streams     int           // streaming pulls; the bounds above are for all of them together
	Lease       time.Duration // ack deadline of each lease extension
	MaxHold     time.Duration // how long a lease is extended in all
	Shutdown    time.Duration // how long Receive waits for handlers after its context ended
}

// Topology names topics and subscriptions to be created, for tests and dev mode; production is Terraform's.
type Topology struct {
	Topics        []string
	Subscriptions []SubscriptionSpec
}

// SubscriptionSpec describes a subscription to be created, which never expires.
type SubscriptionSpec struct {
	Name, Topic     string
	AckDeadline     time.Duration
	MinBackoff      time.Duration
	MaxBackoff      time.Duration
	DeadLetterTopic string // "" for no dead-letter policy
	MaxAttempts     int    // with DeadLetterTopic, 5 to 100
	// Retention is how long a message that nobody acked is kept, 10 minutes to 31 days; 0 is the service's
	// default, 7 days, which is also the emulator's limit. The memory twin keeps everything.
	Retention time.Duration
}

// SubscriptionInfo is how a subscription is set up, as far as usher depends on it.
type SubscriptionInfo struct {
	Topic      string
	MinBackoff time.Duration // before the first redelivery of a nacked message; 0 for at once
	MaxBackoff time.Duration
	// DeadLetterTopic is where messages go after MaxAttempts deliveries; "" for nowhere: they are delivered for ever.
	DeadLetterTopic string
	MaxAttempts     int
	Retention       time.Duration // how long an unacked message is kept, at least
	Expiry          time.Duration // after so long without a receiver the subscription is deleted; 0 for never
	ExactlyOnce     bool
}

// Grant is a permission that an identity lacks.
type Grant struct {
	Member string // who lacks it
	Role   string // what would give it
	On     string // the topic or subscription
}

// Guard is kept by a Queue whose service does things by itself, such as forwarding dead letters, and needs permissions for it.
type Guard interface {
	// MissingGrants returns what the service lacks to forward from a subscription to its dead-letter topic. Errors:
	// code.Denied when the caller may not look, [errors.ErrUnsupported] where there are no permissions.
	MissingGrants(ctx context.Context, subscription, deadLetterTopic string) ([]Grant, error)
}

// Queue is one project's queue service.
type Queue interface {
	Publisher(topic string) Publisher
	Subscriber(subscription string, fc FlowControl) Subscriber
	// Describe returns how a subscription is set up; code.NotFound when there is none that can be used.
	Describe(ctx context.Context, subscription string) (SubscriptionInfo, error)
	// Create makes what is missing; what exists is left as it is.
	Create(ctx context.Context, t Topology) error
	// Close flushes publishers and releases connections.
	Close() error
}
