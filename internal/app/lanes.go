package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/queue"
)

// overflowName is a topic or subscription of an overflow lane.
func overflowName(prefix string, n int) string { return prefix + "-" + strconv.Itoa(n) }

// overflowPart is the part of the process's limits that each overflow lane has: together they hold as much as the main
// lane, and a flood is not worth more memory.
const overflowPart = 2 * dispatch.OverflowLanes

// mainFlow is the flow control of the main lane: half of what the process may hold.
func mainFlow(cfg *config.Config) queue.FlowControl {
	fc := flow(cfg, cfg.PubSub.MaxMessages/2, cfg.PubSub.MaxBytes/2)
	// The streams divide the messages, and what does not divide can never be held.
	fc.Streams = min(cfg.PubSub.Streams, fc.MaxMessages)
	fc.MaxMessages -= fc.MaxMessages % fc.Streams
	return fc
}

func overflowFlow(cfg *config.Config) queue.FlowControl {
	return flow(cfg, cfg.PubSub.MaxMessages/overflowPart, cfg.PubSub.MaxBytes/overflowPart)
}

func flow(cfg *config.Config, messages, bytes int) queue.FlowControl {
	return queue.FlowControl{
		MaxMessages: messages, MaxBytes: bytes, Streams: 1,
		Lease: cfg.PubSub.Lease, MaxHold: cfg.PubSub.MaxHold, Shutdown: cfg.DrainTime(),
	}
}

// overflowTopics are the publishers of the overflow lanes.
func overflowTopics(cfg *config.Config, q queue.Queue) []queue.Publisher {
	out := make([]queue.Publisher, dispatch.OverflowLanes)
	for n := range out {
		out[n] = q.Publisher(overflowName(cfg.PubSub.OverflowTopic, n))
	}
	return out
}

// receive receives events on all lanes until ctx ends.
func (d *Daemon) receive(ctx context.Context) {
	var running sync.WaitGroup
	for n := range dispatch.OverflowLanes {
		running.Go(func() { d.receiveOverflow(ctx, n) })
	}
	sub := d.backend.Queue.Subscriber(d.cfg.PubSub.Subscription, mainFlow(d.cfg))
	d.keepReceiving(ctx, d.cfg.PubSub.Subscription, func() error {
		d.receiving.Store(true)
		defer d.receiving.Store(false)
		return sub.Receive(ctx, d.dispatcher.Handle)
	})
	running.Wait()
}

// receiveOverflow receives on an overflow lane, which is open for what is to be shed as long as that goes well: without
// a subscription its topic would keep nothing. Events are received on the main lane all the same.
func (d *Daemon) receiveOverflow(ctx context.Context, n int) {
	name, topic := overflowName(d.cfg.PubSub.OverflowSubscription, n), overflowName(d.cfg.PubSub.OverflowTopic, n)
	sub := d.backend.Queue.Subscriber(name, overflowFlow(d.cfg))
	handle := d.dispatcher.Overflow(n)
	closed := false // for an error, which was logged
	d.keepReceiving(ctx, name, func() error {
		check, cancel := context.WithTimeoutCause(ctx, checkTime, errNoAnswer)
		info, err := d.backend.Queue.Describe(check, name)
		cancel()
		if err == nil && info.Topic != topic {
			err = errOtherTopic
		}
		if err != nil {
			closed = true
			return fmt.Errorf("%w: %w", errClosedLane, err)
		}
		receiving, end := context.WithCancel(ctx)
		var opening sync.WaitGroup
		opening.Go(func() {
			if sleep(receiving, refusalTime) {
				d.dispatcher.OpenOverflow(n, true)
				if closed {
					d.logger.InfoContext(ctx, "overflow lane open again", "subscription", name)
				}
			}
		})
		defer func() {
			end()
			opening.Wait()
			d.dispatcher.OpenOverflow(n, false)
			closed = true
		}()
		return sub.Receive(ctx, handle)
	})
}

// refusalTime is longer than a service takes to refuse receiving, so that nothing is shed to a lane that cannot be received
// on while it is tried again.
const refusalTime = time.Second

var (
	// errClosedLane marks an overflow lane that cannot be received on.
	errClosedLane = errors.New("overflow lane: create its topic and subscription, or set pubsub.overflow_subscription")
	errOtherTopic = errors.New("subscription is one of another topic")
)

// keepReceiving calls receive until ctx ends; an error starts it again after a pause that grows. What goes on failing
// is logged once a minute.
func (d *Daemon) keepReceiving(ctx context.Context, subscription string, receive func() error) {
	var logged time.Time
	for pause := firstPause; ; pause = min(2*pause, d.cfg.Consumer.ProbeIntervalMax) {
		started := time.Now()
		err := receive()
		if ctx.Err() != nil {
			if err != nil && code.Of(err) != code.Canceled {
				d.logger.WarnContext(ctx, "receiving did not end cleanly", "subscription", subscription, "error", err)
			}
			return
		}
		if time.Since(started) > time.Minute {
			pause, logged = firstPause, time.Time{}
		}
		if time.Since(logged) >= time.Minute {
			logged = time.Now()
			d.logEnded(ctx, subscription, err, pause)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (d *Daemon) logEnded(ctx context.Context, subscription string, err error, pause time.Duration) {
	if errors.Is(err, errClosedLane) {
		d.logger.WarnContext(ctx, "nothing is shed to an overflow lane that cannot be received on",
			"subscription", subscription, "error", err)
		return
	}
	d.logger.ErrorContext(ctx, "receiving ended; it will be started again",
		"subscription", subscription, "error", err, "after", pause)
}

const firstPause = 200 * time.Millisecond

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
