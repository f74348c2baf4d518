// Package memqueue is the queue in memory: the twin of Pub/Sub for tests and for running without a cloud.
//
// It keeps the contract of package queue with leases, redelivery with exponential backoff, delivery attempts
// and dead-letter topics, and misbehaves on request as the service may. Messages live as long as the Queue.
package memqueue

import (
	"bytes"
	"context"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/queue"
)

// Options configure a Queue. The zero value is a well-behaved queue on the wall clock.
type Options struct {
	// Faults makes the queue misbehave; each fault of a delivery strikes a message at most once in every
	// subscription, so that everything is delivered in the end. Nil never strikes.
	Faults *fault.Injector
	// Now stamps the publish times; nil is time.Now. Leases and backoff run on the wall clock.
	Now func() time.Time
}

// Queue is a queue.Queue in memory. It is safe for concurrent use.
type Queue struct {
	faults *fault.Injector
	now    func() time.Time
	lastID atomic.Uint64

	mu            sync.RWMutex
	topics        map[string][]*subscription
	subscriptions map[string]*subscription
	closed        bool
}

var _ queue.Queue = (*Queue)(nil)

// New returns an empty queue.
func New(o Options) *Queue {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Queue{
		faults:        o.Faults,
		now:           o.Now,
		topics:        map[string][]*subscription{},
		subscriptions: map[string]*subscription{},
	}
}

// Publisher returns a publisher to topic, which need not exist yet.
func (q *Queue) Publisher(topic string) queue.Publisher { return publisher{q, topic} }

// Subscriber returns a subscriber to subscription, which need not exist yet.
func (q *Queue) Subscriber(subscription string, fc queue.FlowControl) queue.Subscriber {
	return subscriber{q, subscription, fc.WithDefaults()}
}

// Describe returns how the subscription was created; it keeps everything and never expires. A missing one is
// code.NotFound.
func (q *Queue) Describe(ctx context.Context, subscription string) (queue.SubscriptionInfo, error) {
	const op = "check subscription"
	if err := ctx.Err(); err != nil {
		return queue.SubscriptionInfo{}, code.New(code.Canceled, op, err)
	}
	s, err := q.find(op, subscription)
	if err != nil {
		return queue.SubscriptionInfo{}, err
	}
	return queue.SubscriptionInfo{
		Topic: s.spec.Topic, MinBackoff: s.spec.MinBackoff, MaxBackoff: s.spec.MaxBackoff, Retention: queue.MaxRetention,
		DeadLetterTopic: s.spec.DeadLetterTopic, MaxAttempts: s.spec.MaxAttempts,
	}, nil
}

// Create makes what is missing of t, as Pub/Sub would: code.Invalid for what breaks its limits,
// code.NotFound for a subscription to a missing topic.
func (q *Queue) Create(ctx context.Context, t queue.Topology) error {
	if err := ctx.Err(); err != nil {
		return code.New(code.Canceled, "create", err)
	}
	if err := queue.CheckTopology(t); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed("create")
	}
	for _, name := range t.Topics {
		if _, ok := q.topics[name]; !ok {
			q.topics[name] = nil
		}
	}
	for _, spec := range t.Subscriptions {
		if _, ok := q.subscriptions[spec.Name]; ok {
			continue
		}
		_, ok := q.topics[spec.Topic]
		_, okDead := q.topics[spec.DeadLetterTopic]
		if !ok || spec.DeadLetterTopic != "" && !okDead {
			return code.New(code.NotFound, "create subscription", nil)
		}
		s := newSubscription(q, spec)
		q.subscriptions[spec.Name] = s
		q.topics[spec.Topic] = append(q.topics[spec.Topic], s)
	}
	return nil
}

// Close ends every Receive with an error and refuses further publishes. It returns nil.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, s := range q.subscriptions {
		s.close()
	}
	return nil
}

// Stats counts a subscription's messages since it was created.
type Stats struct {
	Backlog     int // waiting for delivery, backoff included
	Outstanding int // delivered and under lease

	Published    int64 // messages the topic gave to the subscription
	Delivered    int64 // deliveries to handlers
	Acked        int64
	Nacked       int64
	Expired      int64 // leases that ended before the handler did
	DeadLettered int64 // messages forwarded to the dead-letter topic
}

// Stats returns the counts of a subscription, zero for a missing one.
func (q *Queue) Stats(subscription string) Stats {
	s, err := q.find("stats", subscription)
	if err != nil {
		return Stats{}
	}
	return s.snapshot()
}

// WaitIdle returns nil as soon as the subscription has neither backlog nor outstanding messages and no
// handler runs. It returns code.NotFound for a missing subscription, code.Canceled when ctx ends first.
func (q *Queue) WaitIdle(ctx context.Context, subscription string) error {
	s, err := q.find("wait idle", subscription)
	if err != nil {
		return err
	}
	return s.waitIdle(ctx)
}

func (q *Queue) find(op, subscription string) (*subscription, error) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return nil, errClosed(op)
	}
	s, ok := q.subscriptions[subscription]
	if !ok {
		return nil, code.New(code.NotFound, op, nil)
	}
	return s, nil
}

// fanOut gives m, which nobody else holds, to every subscription of topic.
func (q *Queue) fanOut(topic string, m *queue.Message) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return errClosed("publish")
	}
	subs, ok := q.topics[topic]
	if !ok {
		return code.New(code.NotFound, "publish", nil)
	}
	if q.faults.Strike(fault.PublishFails) {
		return code.New(code.Unavailable, "publish", nil)
	}
	m.ID = strconv.FormatUint(q.lastID.Add(1), 10)
	m.PublishTime = q.now()
	for _, s := range subs {
		s.add(m)
	}
	if q.faults.Strike(fault.PublishLost) {
		return code.New(code.Unavailable, "publish", nil)
	}
	return nil
}

func errClosed(op string) error { return code.New(code.Unavailable, op+": queue is closed", nil) }

type publisher struct {
	q     *Queue
	topic string
}

// Publish keeps a copy of m.
func (p publisher) Publish(ctx context.Context, m *queue.Message) (string, error) {
	if err := queue.CheckMessage(m); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", code.New(code.Canceled, "publish", err)
	}
	own := &queue.Message{Data: bytes.Clone(m.Data), Attributes: maps.Clone(m.Attributes)}
	if err := p.q.fanOut(p.topic, own); err != nil {
		return "", err
	}
	return own.ID, nil
}
