package app

import (
	"context"

	"github.com/usherhq/usher/internal/code"
)

// checkDeadLetters warns when dead letters have no subscription: a topic keeps nothing without one. Events are
// received all the same, so it is no reason not to start.
func (d *Daemon) checkDeadLetters(ctx context.Context) {
	name := d.cfg.PubSub.DeadLetterSubscription
	err := d.backend.Queue.Check(ctx, name)
	switch {
	case err == nil || ctx.Err() != nil:
	case code.Of(err) == code.NotFound:
		d.logger.WarnContext(ctx, "dead letters are lost: their subscription is missing, "+
			"create it or set pubsub.dead_letter_subscription",
			"topic", d.cfg.PubSub.DeadLetterTopic,
			"subscription", name,
			"error", err)
	default:
		d.logger.WarnContext(ctx, "the subscription of dead letters cannot be checked",
			"topic", d.cfg.PubSub.DeadLetterTopic,
			"subscription", name,
			"error", err)
	}
}
