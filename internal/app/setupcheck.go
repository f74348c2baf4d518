package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/dispatch"
	"github.com/usherhq/usher/internal/queue"
)

// What a lane's subscription has to allow, so that an outage of hours makes no dead letters.
const (
	wantAttempts = queue.MaxAttempts
	wantBackoff  = 10 * time.Second
)

// Problems of subscriptions.
const (
	missingLetters = "it is missing, so dead letters are lost: create it or set pubsub.dead_letter_subscription"
	unchecked      = "it cannot be checked"

	wrongTopic  = "it belongs to another topic than the configured one"
	expires     = "it is deleted when nobody receives on it for a while: let it never expire"
	exactlyOnce = "exactly-once delivery is on, which usher does not need and which slows receiving"

	noPolicy     = "it has no dead-letter policy: what is never acked is delivered for ever"
	wrongLetters = "its dead letters go to another topic than pubsub.dead_letter_topic"
	fewAttempts  = "it allows less than 100 delivery attempts: an outage makes dead letters"
	shortBackoff = "its minimum backoff is under 10s: an outage uses up the delivery attempts within minutes"

	shortRetention = "it keeps messages for less than 31 days: dead letters of a longer outage are lost"
)

// checkSetup warns of subscriptions that work and will lose or park messages one day. Events are received all the same,
// so nothing of it is a reason not to start, or to start late.
func (d *Daemon) checkSetup(ctx context.Context, main queue.SubscriptionInfo) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTime, errNoAnswer)
	defer cancel()
	c := &d.cfg.PubSub
	d.checkLane(ctx, c.Subscription, c.Topic, main)
	for n := range dispatch.OverflowLanes {
		name, topic := overflowName(c.OverflowSubscription, n), overflowName(c.OverflowTopic, n)
		// Of a lane that is missing the loop that receives on it warns.
		if info, err := d.backend.Queue.Describe(ctx, name); err == nil && info.Topic == topic {
			d.checkLane(ctx, name, topic, info)
		}
	}
	if info, ok := d.describe(ctx, c.DeadLetterSubscription, missingLetters); ok {
		d.warnIf(ctx, c.DeadLetterSubscription, wrongTopic, info.Topic != c.DeadLetterTopic)
		d.warnIf(ctx, c.DeadLetterSubscription, expires, info.Expiry > 0)
		// The emulator allows 7 days.
		d.warnIf(ctx, c.DeadLetterSubscription, shortRetention, info.Retention < queue.MaxRetention && c.EmulatorHost == "")
	}
}

// checkLane checks a subscription of events.
func (d *Daemon) checkLane(ctx context.Context, name, topic string, info queue.SubscriptionInfo) {
	d.warnIf(ctx, name, wrongTopic, info.Topic != topic)
	d.warnIf(ctx, name, expires, info.Expiry > 0)
	d.warnIf(ctx, name, exactlyOnce, info.ExactlyOnce)
	if info.DeadLetterTopic == "" {
		d.warnIf(ctx, name, noPolicy, true)
		return
	}
	d.warnIf(ctx, name, wrongLetters, info.DeadLetterTopic != d.cfg.PubSub.DeadLetterTopic)
	d.warnIf(ctx, name, fewAttempts, info.MaxAttempts < wantAttempts)
	d.warnIf(ctx, name, shortBackoff, info.MinBackoff < wantBackoff)
	d.checkGrants(ctx, name, info.DeadLetterTopic)
}

// describe asks for a subscription that the daemon can do without, and warns when there is no answer.
func (d *Daemon) describe(ctx context.Context, name, missing string) (queue.SubscriptionInfo, bool) {
	info, err := d.backend.Queue.Describe(ctx, name)
	switch code.Of(err) {
	case code.OK:
		return info, true
	case code.NotFound:
		d.warnIf(ctx, name, missing, true, slog.Any("error", err))
	default:
		d.warnIf(ctx, name, unchecked, true, slog.Any("error", err))
	}
	return info, false
}

func (d *Daemon) warnIf(ctx context.Context, subscription, problem string, found bool, more ...slog.Attr) {
	if found {
		d.logger.LogAttrs(ctx, slog.LevelWarn, "a subscription is not set up as usher needs it",
			append([]slog.Attr{slog.String("subscription", subscription), slog.String("problem", problem)}, more...)...)
	}
}

// checkGrants warns when the service may not forward what it gives up on: it would deliver it for ever.
func (d *Daemon) checkGrants(ctx context.Context, subscription, topic string) {
	guard, ok := d.backend.Queue.(queue.Guard)
	if !ok {
		return
	}
	missing, err := guard.MissingGrants(ctx, subscription, topic)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		d.logger.InfoContext(ctx, "cannot check whether Pub/Sub may forward dead letters; "+
			"roles/iam.securityReviewer lets the daemon read the grants",
			"subscription", subscription,
			"error", err)
	}
	for _, g := range missing {
		d.logger.WarnContext(ctx, "Pub/Sub cannot forward dead letters: it lacks a role, unless the project grants it",
			"subscription", subscription,
			"member", g.Member,
			"role", g.Role,
			"resource", g.On)
	}
}
