package memqueue

import (
	"bytes"
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/usherhq/usher/internal/queue"
)

type subscriber struct {
	q    *Queue
	name string
	fc   queue.FlowControl
}

// Receive runs a goroutine per delivery.
func (s subscriber) Receive(ctx context.Context, h queue.Handler) error {
	const op = "receive"
	if ctx.Err() != nil {
		return nil
	}
	sub, err := s.q.find(op, s.name)
	if err != nil {
		return err
	}
	hctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		sub.mu.Lock()
		defer sub.mu.Unlock()
		sub.changed.Broadcast()
	})()
	r := &receiver{fc: s.fc, drained: make(chan struct{})}
	for {
		d, err := sub.next(ctx, r)
		if d == nil {
			cancel()
			sub.drain(r)
			return err
		}
		go func() { sub.settle(r, d, h(hctx, d.message())) }()
	}
}

// delivery is one handing of an item to a handler.
type delivery struct {
	item    *item
	lease   uint64
	attempt int // as the message says it
}

// message returns the handler's own copy.
func (d *delivery) message() *queue.Message {
	m := d.item.msg
	return &queue.Message{
		Data:        bytes.Clone(m.Data),
		Attributes:  maps.Clone(m.Attributes),
		ID:          m.ID,
		PublishTime: m.PublishTime,
		Attempt:     d.attempt,
	}
}

// receiver is one running Receive; the subscription's lock guards it.
type receiver struct {
	fc       queue.FlowControl
	running  int
	bytes    int
	draining bool
	drained  chan struct{} // closed when draining and no handler runs
}

// fits reports whether flow control allows it now. A message larger than the whole bound goes alone.
func (r *receiver) fits(it *item) bool {
	return r.running == 0 ||
		r.running < r.fc.MaxMessages && r.bytes+len(it.msg.Data) <= r.fc.MaxBytes
}

func (r *receiver) hold(d *delivery) {
	r.running++
	r.bytes += len(d.item.msg.Data)
}

func (r *receiver) release(d *delivery) {
	r.running--
	r.bytes -= len(d.item.msg.Data)
	if r.draining && r.running == 0 {
		close(r.drained)
	}
}

// drain waits for r's handlers as long as it may.
func (s *subscription) drain(r *receiver) {
	s.mu.Lock()
	r.draining = true
	running := r.running
	s.mu.Unlock()
	if running == 0 {
		return
	}
	limit := time.NewTimer(r.fc.Shutdown)
	defer limit.Stop()
	select {
	case <-r.drained:
	case <-limit.C:
		s.abandon(r)
	}
}

// deadLetter returns the message as Pub/Sub forwards it to a dead-letter topic.
func (s *subscription) deadLetter(it *item) *queue.Message {
	attributes := maps.Clone(it.msg.Attributes)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = strconv.Itoa(it.attempts)
	attributes["CloudPubSubDeadLetterSourceSubscription"] = s.spec.Name
	attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project
	attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = it.msg.PublishTime.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	return &queue.Message{Data: it.msg.Data, Attributes: attributes}
}

// project stands for the Google Cloud project that a queue in memory does not have.
const project = "memory"
