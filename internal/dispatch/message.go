package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
)

var (
	errMismatch = errors.New("attribute and event name different tenants")
	errStale    = errors.New("first receipt is older than the dedupe window")
)

// outcome is how a message ended.
type outcome uint8

const (
	outcomeStored outcome = iota
	outcomeDuplicate
	outcomeFiltered
	outcomeParked
	outcomeNacked
	outcomeShed
	outcomeHeld
	outcomeDiscarded
	outcomes
)

var outcomeNames = [outcomes]string{"stored", "duplicate", "filtered", "parked", "nacked", "shed", "held", "discarded_inactive"}

// Stats are how many messages ended each way: stored, duplicate, filtered, parked, nacked, shed, held,
// discarded_inactive.
func (d *Dispatcher) Stats() map[string]int64 {
	m := make(map[string]int64, outcomes)
	for i := range outcomes {
		for l := range d.ended {
			m[outcomeNames[i]] += d.ended[l][i].Load()
		}
	}
	return m
}

// report gathers what is known of a message while it is handled.
type report struct {
	place
	m           *queue.Message // as it was before it was shed
	start       time.Time
	event       *visitor.Event // nil until decoded
	json        []byte         // of event, as it was sent; nil where it differs
	raw         []byte         // compressed
	rawEncoding string
	item        *commit.Item // nil until there is something to commit
	result      commit.Result
	outcome     outcome
	reason      envelope.Reason
	err         error
	broke       bool // the store gave an internal error for it before
}

// decode reads the message: usher's own envelope, or a cookbook publisher's shape.
func (d *Dispatcher) decode(ctx context.Context, r *report) error {
	if resolve.IsCookbook(r.m) {
		ev, raw, err := d.opts.Resolver.Cookbook(ctx, d.opts.Cookbook, r.m)
		if err != nil {
			return err
		}
		r.event, r.raw, r.rawEncoding = ev, envelope.Compress(raw), envelope.Zstd
	} else {
		env, err := envelope.Decode(r.m)
		if err != nil {
			return err
		}
		r.event, r.json, r.raw, r.rawEncoding = env.Event, env.JSON, env.Raw, env.RawEncoding
		// The id is a function of the event, so it is not taken from the message.
		if id := r.event.Visitor(); id != r.event.VisitorID {
			r.event.VisitorID, r.json = id, nil
		}
	}
	if t, ok := r.m.Attributes[envelope.AttrTenant]; ok && t != string(r.event.TenantID) {
		return park(envelope.ReasonTenantMismatch, errMismatch)
	}
	if _, err := layout.Identification(r.event.TenantID, r.event.ID); err != nil {
		return park(envelope.ReasonForbiddenID, err)
	}
	return nil
}

// fresh returns an error for an event that may be a repetition of one that nobody remembers.
func (d *Dispatcher) fresh(r *report) error {
	if d.opts.Now().Sub(r.event.Receipt.ReceivedAt) > d.opts.Window && r.m.Attributes[envelope.AttrAllowStale] == "" {
		return park(envelope.ReasonStale, errStale)
	}
	return nil
}

// park publishes the message to the dead-letter topic and acks it; if that fails it is nacked.
func (d *Dispatcher) park(ctx context.Context, r *report, reason envelope.Reason) queue.Disposition {
	r.reason = reason
	m, err := envelope.EncodeDeadLetter(d.deadLetter(r))
	if err == nil {
		pub, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), d.opts.PublishTimeout, errPublish)
		_, err = d.opts.DeadLetters.Publish(pub, m)
		cancel()
	}
	if err != nil {
		r.err = fmt.Errorf("park: %w", err)
		r.outcome = outcomeNacked
		return queue.Nack
	}
	r.outcome = outcomeParked
	return queue.Ack
}

var errPublish = errors.New("dead letter was not published in time")

func (d *Dispatcher) deadLetter(r *report) *envelope.DeadLetter {
	dl := &envelope.DeadLetter{
		Reason:   r.reason,
		Detail:   r.err.Error(),
		ParkedAt: d.opts.Now().UTC(),
		TenantID: visitor.TenantID(r.m.Attributes[envelope.AttrTenant]),
		Source:   r.m.Attributes[envelope.AttrSource],
		EventID:  visitor.EventID(r.m.Attributes[envelope.AttrEvent]),
		Message: &envelope.ParkedMessage{
			ID: r.m.ID, PublishTime: r.m.PublishTime, Attempts: r.m.Attempt,
			Attributes: r.m.Attributes, Data: envelope.Compress(r.m.Data),
		},
	}
	if ev := r.event; ev != nil {
		dl.TenantID, dl.Source, dl.EventID, dl.ReceivedAt = ev.TenantID, ev.Source, ev.ID, ev.Receipt.ReceivedAt
	}
	return dl
}

// log writes the message's one canonical line.
func (d *Dispatcher) log(ctx context.Context, r *report) {
	level := slog.LevelInfo
	switch {
	case r.outcome == outcomeParked || r.outcome == outcomeNacked:
		level = slog.LevelWarn
	case !d.opts.Logger.Enabled(ctx, level) || rand.Float64() >= d.opts.SuccessSample:
		return
	}
	attrs := make([]slog.Attr, 0, 13)
	attrs = r.place.log(attrs)
	if ev := r.event; ev != nil {
		attrs = append(attrs,
			slog.String("tenant_id", string(ev.TenantID)),
			slog.String("source", ev.Source),
			slog.String("event_id", string(ev.ID)),
		)
	}
	attrs = append(attrs,
		slog.String("message_id", r.m.ID),
		slog.String("outcome", outcomeNames[r.outcome]),
		slog.Int64("duration_ms", time.Since(r.start).Milliseconds()),
	)
	if r.m.Attempt > 0 {
		attrs = append(attrs, slog.Int("delivery_attempt", r.m.Attempt))
	}
	if r.result.FirstMatch {
		attrs = append(attrs, slog.Bool("first_match", true))
	}
	if r.reason != "" {
		attrs = append(attrs, slog.String("reason", string(r.reason)), slog.String("class", string(r.reason.Class())))
	}
	if r.outcome == outcomeParked || r.outcome == outcomeNacked {
		attrs = append(attrs, slog.Any("error", r.err))
	}
	d.opts.Logger.LogAttrs(ctx, level, "message", attrs...)
}
