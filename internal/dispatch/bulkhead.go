package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/usherhq/usher/consumer/visitor"
)

// bulkheads bound how many chains of each tenant run at a time, those included that were left behind at their
// timeout and still run. A tenant none of whose chains runs takes no memory.
type bulkheads struct {
	most int64

	mu      sync.Mutex
	tenants map[visitor.TenantID]*bulkhead
}

type bulkhead struct {
	slots *semaphore.Weighted
	users int // those with a slot and those waiting for one
	ended int // chains so far
}

func newBulkheads(most int) *bulkheads {
	return &bulkheads{most: int64(most), tenants: map[visitor.TenantID]*bulkhead{}}
}

var (
	errBusy  = errors.New("tenant is busy: too many of its events are being processed")
	errStuck = fmt.Errorf("%w, and none of them ended", errBusy)
)

// enter takes one of the tenant's slots, waiting for it if need be. It returns errBusy when all that came free in time
// went to others, errStuck when none did, or why ctx ended. Who was let in calls leave.
func (b *bulkheads) enter(ctx context.Context, id visitor.TenantID, patience time.Duration) error {
	b.mu.Lock()
	t := b.tenants[id]
	if t == nil {
		t = &bulkhead{slots: semaphore.NewWeighted(b.most)}
		b.tenants[id] = t
	}
	t.users++
	ended := t.ended
	b.mu.Unlock()
	if t.slots.TryAcquire(1) {
		return nil
	}
	wait, cancel := context.WithTimeoutCause(ctx, patience, errBusy)
	defer cancel()
	if err := t.slots.Acquire(wait, 1); err != nil {
		if why := context.Cause(wait); b.forget(id, t) > ended || !errors.Is(why, errBusy) {
			return why
		}
		return errStuck
	}
	return nil
}

// leave gives a slot back.
func (b *bulkheads) leave(id visitor.TenantID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tenants[id]
	t.slots.Release(1)
	t.ended++
	b.dropped(id, t)
}

// forget returns how many of the tenant's chains have ended so far.
func (b *bulkheads) forget(id visitor.TenantID, t *bulkhead) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped(id, t)
	return t.ended
}

// dropped notes that a user has gone. The caller holds the lock.
func (b *bulkheads) dropped(id visitor.TenantID, t *bulkhead) {
	if t.users--; t.users == 0 {
		delete(b.tenants, id)
	}
}
