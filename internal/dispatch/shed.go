package dispatch

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
)

// OverflowLanes is how many overflow lanes there are. It is no setting: the lane is a hash of the tenant, so all
// processes, and those who create the topics, have to agree.
const OverflowLanes = 4

// lane is the subscription that a message came by: the main one or an overflow lane.
type lane uint8

const (
	laneMain lane = iota
	lanes         = 1 + OverflowLanes
)

// laneNames name the lanes in logs and metrics.
var laneNames = func() (names [lanes]string) {
	names[laneMain] = "main"
	for n := range OverflowLanes {
		names[overflow(n)] = "overflow-" + strconv.Itoa(n)
	}
	return names
}()

func overflow(n int) lane { return laneMain + 1 + lane(n) }

// OverflowLane returns the number of a tenant's overflow lane: the same in every process.
func OverflowLane(tenant string) int {
	h := fnv.New64a()
	_, _ = io.WriteString(h, tenant) // never fails
	// The low bits alone depend on the low bits of the id's characters only.
	sum := h.Sum64()
	return int((sum ^ sum>>32) % OverflowLanes)
}

// overflowLane is what is known of an overflow lane.
type overflowLane struct {
	open      atomic.Bool
	pausedTo  atomic.Int64 // Unix nanoseconds: nothing is shed to it until then
	published atomic.Int64 // messages shed
	failed    atomic.Int64 // messages that were to be shed and were processed in place
}

// shedPause is how long nothing is shed to a lane whose topic refused a message: holding messages for publishes that
// fail costs the slots that shedding is to free.
const shedPause = 5 * time.Second

var errShed = errors.New("message was not shed in time")

// OpenOverflow says whether somebody receives on an overflow lane. Nothing is shed to a lane that is not open, as at
// the start: a topic without a subscription keeps nothing.
func (d *Dispatcher) OpenOverflow(n int, open bool) { d.overflow[n].open.Store(open) }

// shed publishes a message of a tenant over its share to the tenant's overflow lane, where it waits without taking
// slots from others, and reports whether that was acknowledged. If not, the message is processed where it is.
func (d *Dispatcher) shed(ctx context.Context, r *report) bool {
	n := OverflowLane(r.tenant)
	l := &d.overflow[n]
	// While the gate is shut a full window is nobody's fault: shedding would only move the backlog.
	if !l.open.Load() || time.Now().UnixNano() < l.pausedTo.Load() || !d.gate.isOpen() {
		return false
	}
	d.window.shed(r)
	// The publish ends with receiving: the message is processed in place then, and a copy that got through has no second
	// effect.
	pub, cancel := context.WithTimeoutCause(ctx, d.opts.PublishTimeout, errShed)
	_, err := d.opts.Overflow[n].Publish(pub, envelope.Shed(r.m, dimensionNames[r.in]))
	cancel()
	if err == nil {
		l.published.Add(1)
		r.outcome, r.shedTo = outcomeShed, overflow(n)
		return true
	}
	d.window.keep(r)
	l.failed.Add(1)
	if c := code.Of(err); c == code.Invalid || c == code.TooLarge {
		return false // no room for more attributes: one tenant's messages must not close the lane to others
	}
	now := time.Now()
	if was := l.pausedTo.Load(); ctx.Err() == nil && was < now.UnixNano() && l.pausedTo.CompareAndSwap(was, now.Add(shedPause).UnixNano()) {
		d.opts.Logger.WarnContext(ctx, "messages cannot be shed and are processed in place",
			"lane", laneNames[overflow(n)], "error", err)
	}
	return false
}

// Overflow returns the handler of an overflow lane's messages, which are never shed again.
func (d *Dispatcher) Overflow(n int) queue.Handler {
	return func(ctx context.Context, m *queue.Message) queue.Disposition { return d.receive(ctx, m, overflow(n)) }
}
