package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/queue"
)

// checkTime bounds one try of a check, so that a system that does not even refuse is named in the log soon.
const checkTime = 5 * time.Second

var errNoAnswer = errors.New("no answer")

// selfCheck waits while a system is away and returns an error when something is missing or forbidden. It is not
// ready when it was asked to stop before it was.
func (d *Daemon) selfCheck(ctx context.Context) (ready bool, err error) {
	store := "firestore database " + d.cfg.Firestore.Database + at(d.cfg.Firestore.EmulatorHost)
	err = d.await(ctx, store, "create it, or set firestore.database", func(ctx context.Context) error {
		return probe(ctx, d.backend.Store)
	})
	if err != nil || ctx.Err() != nil {
		return false, err
	}
	sub := "subscription " + d.cfg.PubSub.Subscription + at(d.cfg.PubSub.EmulatorHost)
	var info queue.SubscriptionInfo
	err = d.await(ctx, sub, "create it, or set pubsub.subscription", func(ctx context.Context) (err error) {
		info, err = d.backend.Queue.Describe(ctx, d.cfg.PubSub.Subscription)
		return err
	})
	if err != nil || ctx.Err() != nil {
		return false, err
	}
	d.checkSetup(ctx, info)
	return ctx.Err() == nil, nil
}

func at(emulator string) string {
	if emulator == "" {
		return ""
	}
	return " at the emulator " + emulator
}

// await repeats a check until it succeeds, fails for good or ctx ends, which is no error.
func (d *Daemon) await(ctx context.Context, what, mend string, check func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, d.cfg.Consumer.ProbeIntervalMax) {
		try, cancel := context.WithTimeoutCause(ctx, checkTime, errNoAnswer)
		err := check(try)
		cancel()
		switch code.Of(err) {
		case code.OK:
			return nil
		case code.NotFound:
			return fmt.Errorf("%s in project %q is missing: %s: %w", what, project(d.cfg), mend, err)
		case code.Denied, code.Invalid:
			return fmt.Errorf("%s in project %q cannot be used: %w", what, project(d.cfg), err)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop before it began
		}
		d.logger.WarnContext(ctx, "waiting for a system to come up",
			"system", what, "error", err)
		if !sleep(ctx, pause) {
			return nil
		}
	}
}
