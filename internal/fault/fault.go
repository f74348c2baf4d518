// Package fault decides, by seed, when a memory twin misbehaves the way the real service may.
package fault

import (
	"maps"
	"math/rand/v2"
	"sync"
)

// Kind is one way to misbehave.
type Kind string

// The faults of the store twin.
const (
	Aborted      Kind = "aborted"       // a commit is refused for contention; nothing is written
	LostResponse Kind = "lost_response" // a commit is applied, the caller sees code.Unavailable
	LateApply    Kind = "late_apply"    // the caller sees code.Unavailable at once, the commit is applied later
	Expired      Kind = "expired"       // a document whose expire_at has passed is gone before a commit or read
)

// The faults of the queue twin.
const (
	Redelivered  Kind = "redelivered"   // an acknowledged message is delivered once more
	LeaseExpired Kind = "lease_expired" // a message is delivered again while its handler still runs
	Reordered    Kind = "reordered"     // a message is delivered after later ones
	PublishFails Kind = "publish_fails" // a publish is refused; nothing is published
	PublishLost  Kind = "publish_lost"  // a message is published, the caller sees code.Unavailable
	NoAttempt    Kind = "no_attempt"    // a received message does not say its delivery attempt
)

// Plan says how often each fault strikes, from 0 to 1.
type Plan map[Kind]float64

// Everything is a plan with every fault at rate.
func Everything(rate float64) Plan {
	p := Plan{}
	for _, k := range []Kind{
		Aborted, LostResponse, LateApply, Expired,
		Redelivered, LeaseExpired, Reordered, PublishFails, PublishLost, NoAttempt,
	} {
		p[k] = rate
	}
	return p
}

// Injector draws faults. A nil Injector never strikes. It is safe for concurrent use; with one caller the
// same seed gives the same faults.
type Injector struct {
	plan Plan

	mu     sync.Mutex
	rng    *rand.Rand
	struck map[Kind]int
}

// New returns an injector for a plan.
func New(seed uint64, plan Plan) *Injector {
	return &Injector{plan: maps.Clone(plan), rng: rand.New(rand.NewPCG(seed, 0)), struck: map[Kind]int{}}
}

// Plans reports whether the fault can happen at all.
func (i *Injector) Plans(k Kind) bool { return i != nil && i.plan[k] > 0 }

// Strike reports whether the fault happens now, and counts it.
func (i *Injector) Strike(k Kind) bool {
	if !i.Plans(k) {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.rng.Float64() >= i.plan[k] {
		return false
	}
	i.struck[k]++
	return true
}

// Struck returns how often each fault has happened.
func (i *Injector) Struck() map[Kind]int {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.struck)
}
