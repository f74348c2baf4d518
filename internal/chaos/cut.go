package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

// life is what ties a daemon in this process to the twins. When it is cut, the daemon is to the twins as if its machine
// had lost power: what it asked for before may still be applied, but it learns nothing more, nothing more of it
// arrives, and the messages it held come back when their leases are over.
type life struct {
	over context.Context
	cut  context.CancelFunc
	// withheld counts acks and responses that were not delivered.
	withheld atomic.Int64
}

func newLife() *life {
	l := &life{}
	l.over, l.cut = context.WithCancel(context.Background())
	return l
}

func (l *life) dead() bool { return l.over.Err() != nil }

// backend returns the twins as this daemon sees them. Closing it leaves the twins open.
func (l *life) backend(b *app.Backend) *app.Backend {
	return &app.Backend{Store: mortalStore{b.Store, l}, Queue: mortalQueue{b.Queue, l}}
}

var errCut = code.New(code.Unavailable, "cut off", errors.New("the daemon was abandoned"))

// mortal makes a call and keeps its response from a daemon that was abandoned meanwhile.
func mortal[T any](l *life, call func() (T, error)) (T, error) {
	var none T
	if l.dead() {
		return none, errCut
	}
	v, err := call()
	if l.dead() {
		l.withheld.Add(1)
		return none, errCut
	}
	return v, err
}

type mortalStore struct {
	store.Store
	life *life
}

func (s mortalStore) Commit(ctx context.Context, writes []store.Write) error {
	_, err := mortal(s.life, func() (struct{}, error) { return struct{}{}, s.Store.Commit(ctx, writes) })
	return err
}

func (s mortalStore) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	return mortal(s.life, func() ([]store.Doc, error) { return s.Store.Get(ctx, paths) })
}

func (s mortalStore) Query(ctx context.Context, q store.Query) ([]store.Doc, error) {
	return mortal(s.life, func() ([]store.Doc, error) { return s.Store.Query(ctx, q) })
}

func (mortalStore) Close() error { return nil }

type mortalQueue struct {
	queue.Queue
	life *life
}

func (q mortalQueue) Publisher(topic string) queue.Publisher {
	return mortalPublisher{q.Queue.Publisher(topic), q.life}
}

func (q mortalQueue) Subscriber(subscription string, fc queue.FlowControl) queue.Subscriber {
	fc = fc.WithDefaults()
	return mortalSubscriber{q.Queue.Subscriber(subscription, fc), q.life, fc}
}

func (mortalQueue) Close() error { return nil }

type mortalPublisher struct {
	queue.Publisher
	life *life
}

func (p mortalPublisher) Publish(ctx context.Context, m *queue.Message) (string, error) {
	return mortal(p.life, func() (string, error) { return p.Publisher.Publish(ctx, m) })
}

type mortalSubscriber struct {
	queue.Subscriber
	life *life
	fc   queue.FlowControl
}

// Receive withholds the answers of an abandoned daemon until the queue has given up on it.
func (s mortalSubscriber) Receive(ctx context.Context, h queue.Handler) error {
	if s.life.dead() {
		return errCut
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life.over, cancel)()
	err := s.Subscriber.Receive(ctx, func(ctx context.Context, m *queue.Message) queue.Disposition {
		d := h(ctx, m)
		if s.life.dead() {
			s.life.withheld.Add(1)
			// By then the twin has waited for handlers, let the lease end and given the message to somebody else.
			time.Sleep(s.fc.Shutdown + s.fc.Lease + time.Second)
			return queue.Nack
		}
		return d
	})
	if s.life.dead() {
		return errCut
	}
	return err
}
