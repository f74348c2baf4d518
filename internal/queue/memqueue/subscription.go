package memqueue

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/queue"
)

// item is one message of one subscription. It is in ready, or in due while it is leased or backs off, or
// in nobody's hands while it is forwarded to the dead-letter topic.
type item struct {
	msg      *queue.Message // shared by all subscriptions, never changed or handed out
	attempts int
	holder   *receiver // nil unless leased
	lease    uint64    // names the present lease; an older delivery's answer no longer counts
	due      time.Time
	index    int // in the heap

	struck struct{ expired, again, reordered bool } // faults that have had their turn
}

type subscription struct {
	q    *Queue
	spec queue.SubscriptionSpec

	mu       sync.Mutex
	changed  sync.Cond // something became ready, room was made, or the queue closed
	idle     sync.Cond // nothing left to do
	ready    ring
	due      dueHeap
	timer    *time.Timer // runs expire at armed; nil before the first lease
	armed    time.Time   // zero when the timer is not running
	leases   uint64
	handlers int
	closed   bool
	stats    Stats
}

func newSubscription(q *Queue, spec queue.SubscriptionSpec) *subscription {
	s := &subscription{q: q, spec: spec}
	s.changed.L, s.idle.L = &s.mu, &s.mu
	return s
}

func (s *subscription) add(m *queue.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Published++
	s.stats.Backlog++
	s.makeReady(&item{msg: m})
}

func (s *subscription) makeReady(it *item) {
	s.ready.push(it)
	s.changed.Broadcast()
}

// next waits for a message that r has room for and leases it. It returns nil when ctx has ended, and an
// error when the queue was closed.
func (s *subscription) next(ctx context.Context, r *receiver) (*delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case s.closed:
			return nil, errClosed("receive")
		case s.ready.n > 0 && r.fits(s.ready.peek()):
			return s.leaseTo(r, s.pick()), nil
		}
		s.changed.Wait()
	}
}

func (s *subscription) pick() *item {
	it := s.ready.pop()
	if s.ready.n > 0 && !it.struck.reordered && s.q.faults.Strike(fault.Reordered) {
		it.struck.reordered = true
		s.ready.push(it)
		it = s.ready.pop()
	}
	return it
}

func (s *subscription) leaseTo(r *receiver, it *item) *delivery {
	s.leases++
	s.handlers++
	s.stats.Delivered++
	s.stats.Backlog--
	s.stats.Outstanding++
	it.attempts++
	it.lease, it.holder = s.leases, r
	d := &delivery{item: it, lease: it.lease}
	if s.spec.DeadLetterTopic != "" && !s.q.faults.Strike(fault.NoAttempt) {
		d.attempt = it.attempts
	}
	r.hold(d)
	s.schedule(it, time.Now().Add(max(r.fc.MaxHold, r.fc.Lease)))
	if !it.struck.expired && s.q.faults.Strike(fault.LeaseExpired) {
		it.struck.expired = true
		heap.Remove(&s.due, it.index)
		s.loseLease(it)
		s.stats.Expired++
		s.makeReady(it)
	}
	return d
}

// settle ends a delivery as its handler decided. An answer under a lost lease counts for nothing.
func (s *subscription) settle(r *receiver, d *delivery, answer queue.Disposition) {
	s.mu.Lock()
	s.handlers--
	r.release(d)
	forward := false
	if it := d.item; it.lease == d.lease {
		heap.Remove(&s.due, it.index)
		if answer == queue.Ack {
			s.ack(it)
		} else {
			s.stats.Nacked++
			forward = s.giveBack(it)
		}
	}
	s.changed.Broadcast()
	s.signalIdle()
	s.mu.Unlock()
	if forward {
		s.forward(d.item)
	}
}

func (s *subscription) ack(it *item) {
	s.stats.Acked++
	s.loseLease(it)
	s.stats.Backlog--
	if !it.struck.again && s.q.faults.Strike(fault.Redelivered) {
		it.struck.again = true
		s.stats.Backlog++
		s.makeReady(it)
	}
}

// loseLease makes a leased item backlog.
func (s *subscription) loseLease(it *item) {
	it.lease, it.holder = 0, nil
	s.stats.Outstanding--
	s.stats.Backlog++
}

// giveBack schedules the next delivery of an item whose lease ended without ack. It reports true when the
// item is to be forwarded instead; it then stays outstanding, so that the subscription is not idle before
// the dead-letter topic has it.
func (s *subscription) giveBack(it *item) (forward bool) {
	if s.spec.DeadLetterTopic != "" && it.attempts >= s.spec.MaxAttempts {
		it.lease, it.holder = 0, nil
		return true
	}
	s.loseLease(it)
	if d := s.backoff(it.attempts); d > 0 {
		s.schedule(it, time.Now().Add(d))
	} else {
		s.makeReady(it)
	}
	return false
}

// backoff doubles with every attempt, within the subscription's bounds.
func (s *subscription) backoff(attempts int) time.Duration {
	d := s.spec.MinBackoff
	for range attempts - 1 {
		if d >= s.spec.MaxBackoff {
			break
		}
		d *= 2
	}
	return min(d, s.spec.MaxBackoff)
}

func (s *subscription) forward(it *item) {
	err := s.q.fanOut(s.spec.DeadLetterTopic, s.deadLetter(it))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Outstanding--
	if err != nil { // a fault: it is delivered once more, as Pub/Sub does, and forwarded then
		s.stats.Backlog++
		s.makeReady(it)
		return
	}
	s.stats.DeadLettered++
	s.signalIdle()
}

func (s *subscription) schedule(it *item, due time.Time) {
	it.due = due
	heap.Push(&s.due, it)
	s.arm()
}

// arm makes the timer fire no later than the first item is due; it may fire earlier, since acks do not
// move it.
func (s *subscription) arm() {
	if s.closed || len(s.due) == 0 || (!s.armed.IsZero() && !s.due[0].due.Before(s.armed)) {
		return
	}
	s.armed = s.due[0].due
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(s.armed), s.expire)
		return
	}
	s.timer.Reset(time.Until(s.armed))
}

// expire gives back what was leased for too long and makes ready what has backed off.
func (s *subscription) expire() {
	var forward []*item
	s.mu.Lock()
	s.armed = time.Time{}
	for now := time.Now(); len(s.due) > 0 && !s.due[0].due.After(now); {
		it := heap.Pop(&s.due).(*item)
		if it.holder == nil {
			s.makeReady(it)
			continue
		}
		s.stats.Expired++
		if s.giveBack(it) {
			forward = append(forward, it)
		}
	}
	s.arm()
	s.mu.Unlock()
	for _, it := range forward {
		s.forward(it)
	}
}

// abandon lets the leases of a receiver that left end as they would after a process died.
func (s *subscription) abandon(r *receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := time.Now().Add(r.fc.Lease)
	for _, it := range s.due {
		if it.holder == r && it.due.After(end) {
			it.due = end
		}
	}
	heap.Init(&s.due)
	s.arm()
}

func (s *subscription) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *subscription) isIdle() bool {
	return s.handlers == 0 && s.stats.Backlog == 0 && s.stats.Outstanding == 0
}

func (s *subscription) signalIdle() {
	if s.isIdle() {
		s.idle.Broadcast()
	}
}

func (s *subscription) waitIdle(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.idle.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.isIdle() {
		if err := ctx.Err(); err != nil {
			return code.New(code.Canceled, "wait idle", err)
		}
		if s.closed {
			return errClosed("wait idle")
		}
		s.idle.Wait()
	}
	return nil
}

func (s *subscription) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.changed.Broadcast()
	s.idle.Broadcast()
}
