// Package queuetest is the conformance suite that every driver of package queue passes.
//
// It creates topics and subscriptions under names of its own, so that runs can share one emulator.
package queuetest

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/queue"
)

// Case is one promise of the contract. Run may take q's whole life; it registers no parallelism of its own,
// so that it also runs in a testing/synctest bubble.
type Case struct {
	Name string
	Run  func(t *testing.T, q queue.Queue)
}

// Cases returns the suite. Some cases wait for ack deadlines, 10 s and more of real time.
func Cases() []Case {
	return []Case{
		{"RoundTrip", roundTrip},
		{"FanOut", fanOut},
		{"NackRedelivers", nackRedelivers},
		{"Attempts", attempts},
		{"DeadLetter", deadLetter},
		{"MaxMessages", maxMessages},
		{"MaxMessagesOfAllStreams", maxMessagesOfAllStreams},
		{"MaxBytes", maxBytes},
		{"LeaseIsExtended", leaseIsExtended},
		{"MaxHoldEndsLease", maxHoldEndsLease},
		{"ReceiveWaitsForHandlers", receiveWaitsForHandlers},
		{"ShutdownLimit", shutdownLimit},
		{"AckedStaysAcked", ackedStaysAcked},
		{"UnackedComesBack", unackedComesBack},
		{"ReceiversShare", receiversShare},
		{"PublishErrors", publishErrors},
		{"ReceiveErrors", receiveErrors},
		{"Create", create},
		{"Describe", describe},
		{"Close", closes},
	}
}

// Run runs every case in parallel, each on a queue of its own from open.
func Run(t *testing.T, open func(t *testing.T) queue.Queue) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, open(t))
		})
	}
}

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// names of one case's topics and subscriptions.
type names struct{ topic, sub string }

func newNames() names {
	s := "queuetest-" + strings.ToLower(rand.Text()[:12])
	return names{topic: s, sub: s + "-sub"}
}

// setup creates a topic and a subscription after spec, whose names it fills in.
func setup(t *testing.T, q queue.Queue, spec queue.SubscriptionSpec) names {
	t.Helper()
	n := newNames()
	spec.Name, spec.Topic = n.sub, n.topic
	mustCreate(t, q, queue.Topology{Topics: []string{n.topic}, Subscriptions: []queue.SubscriptionSpec{spec}})
	return n
}

func mustCreate(t *testing.T, q queue.Queue, top queue.Topology) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := q.Create(ctx, top); err != nil {
		t.Fatalf("Create: %v", err)
	}
}

func mustPublish(t *testing.T, q queue.Queue, topic string, messages ...*queue.Message) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := q.Publisher(topic)
	for _, m := range messages {
		id, err := p.Publish(ctx, m)
		if err != nil {
			t.Fatalf("Publish: %v", err)
		}
		ids = append(ids, id)
	}
	return ids
}

func text(s string) *queue.Message { return &queue.Message{Data: []byte(s)} }

// receiving is a Receive under way.
type receiving struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // after done
}

// receive starts a Receive that ends with the test at the latest.
func receive(t *testing.T, q queue.Queue, sub string, fc queue.FlowControl, h queue.Handler) *receiving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &receiving{cancel: cancel, done: make(chan struct{})}
	s := q.Subscriber(sub, fc)
	go func() {
		defer close(r.done)
		r.err = s.Receive(ctx, h)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

// stop ends the Receive, which must return nil.
func (r *receiving) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := r.wait(t); err != nil {
		t.Fatalf("Receive: %v", err)
	}
}

func (r *receiving) wait(t *testing.T) error {
	t.Helper()
	await(t, r.done, "Receive to return")
	return r.err
}

// await returns the next value of ch, or the zero value when it is closed.
func await[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case v := <-ch:
		return v
	case <-limit.C:
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// collect is a handler that acks everything and passes it on.
func collect(into chan<- *queue.Message) queue.Handler {
	return func(_ context.Context, m *queue.Message) queue.Disposition {
		into <- m
		return queue.Ack
	}
}

// gauge counts what happens at the same time.
type gauge struct {
	entered chan int      // how many were inside, at each entry
	leave   chan struct{} // lets one handler go
	inside  chan int      // holds the count
}

func newGauge(capacity int) *gauge {
	g := &gauge{entered: make(chan int, capacity), leave: make(chan struct{}), inside: make(chan int, 1)}
	g.inside <- 0
	return g
}

func (g *gauge) handle(context.Context, *queue.Message) queue.Disposition {
	n := <-g.inside + 1
	g.inside <- n
	g.entered <- n
	<-g.leave
	g.inside <- <-g.inside - 1
	return queue.Ack
}
