// Package deadletter stores what was parked, so that operators can list it, put it back and purge it.
//
// A dead letter is acked only after it is stored; until then it stays in its subscription. Redriving keeps every
// identity, so that however often something is redriven it takes effect once.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

// Options configure a [Receiver]. All are required.
type Options struct {
	Store     store.Store
	Logger    *slog.Logger
	Now       func() time.Time
	Retention time.Duration // how long after it was parked a dead letter is kept
	Timeout   time.Duration // for storing one
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	for what, ok := range map[string]bool{
		"store: required": o.Store != nil, "logger: required": o.Logger != nil, "now: required": o.Now != nil,
		"retention: want more than 0": o.Retention > 0, "timeout: want more than 0": o.Timeout > 0,
	} {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	return errors.Join(errs...)
}

// Receiver stores dead letters. It is safe for concurrent use.
type Receiver struct{ opts Options }

// NewReceiver returns a receiver.
func NewReceiver(o Options) (*Receiver, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("dead letter receiver: %w", err)
	}
	return &Receiver{o}, nil
}

// outcome is what became of a received dead letter.
type outcome string

const (
	outcomeStored    outcome = "stored"
	outcomeDuplicate outcome = "duplicate" // it is stored already
	outcomeReopened  outcome = "reopened"  // it was redriven, and parked again since
	outcomeNacked    outcome = "nacked"
)

var errTimeout = errors.New("dead letter was not stored in time")

// Handle stores one message of the dead-letter topic; it is a [queue.Handler]. It acks what is stored and nacks
// everything while the store is away. What is no dead letter is stored as it is.
func (r *Receiver) Handle(ctx context.Context, m *queue.Message) queue.Disposition {
	// What was begun is finished even while receiving ends.
	put, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.opts.Timeout, errTimeout)
	defer cancel()
	rec := parse(m, r.opts.Now())
	out, err := r.put(put, rec)
	if c := code.Of(err); c == code.Invalid || c == code.TooLarge {
		// The store takes no such record, and never will: what is left is to keep the message.
		rec = unknown(m)
		rec.Status, rec.Detail, rec.Attributes = Parked, "its record was refused by the store", nil
		rec.ParkedAt, rec.PublishedAt, rec.PayloadBytes = settle(r.opts.Now()), time.Time{}, len(rec.payload)
		out, err = r.put(put, rec)
	}
	r.log(ctx, m, rec, out, err)
	if err != nil {
		return queue.Nack
	}
	return queue.Ack
}

// maxTries bounds how often a record is written in the face of concurrent writers.
const maxTries = 10

// put stores a record, unless it is stored already. A record that was redriven before the dead letter was parked
// is opened again.
func (r *Receiver) put(ctx context.Context, rec *Record) (outcome, error) {
	rec.ExpireAt = rec.ParkedAt.Add(r.opts.Retention)
	path, err := layout.DeadLetter(rec.ID)
	if err != nil {
		return outcomeNacked, err
	}
	if err := writeParts(ctx, r.opts.Store, rec); err != nil {
		return outcomeNacked, err
	}
	create := store.Write{Path: path, Fields: rec.Fields(), IfMissing: true}
	for range maxTries {
		err = r.opts.Store.Commit(ctx, []store.Write{create})
		if code.Of(err) != code.Conflict {
			if err != nil {
				return outcomeNacked, err
			}
			return outcomeStored, nil
		}
		old, getErr := Get(ctx, r.opts.Store, rec.ID)
		switch {
		case errors.Is(getErr, ErrNotFound):
			continue
		case getErr != nil:
			return outcomeNacked, getErr
		case old.Status != Redriven || !rec.ParkedAt.After(old.RedrivenAt):
			return outcomeDuplicate, nil
		}
		err = r.opts.Store.Commit(ctx, []store.Write{reopen(path, rec, old)})
		if err == nil {
			return outcomeReopened, nil
		}
		if code.Of(err) != code.Conflict {
			return outcomeNacked, err
		}
	}
	return outcomeNacked, err
}

// reopen turns a redriven record back into a parked one. The first receipt stays: it decides the usage period.
func reopen(path store.Path, rec, old *Record) store.Write {
	return store.Write{Path: path, Merge: true, IfVersion: old.version, Fields: store.Fields{
		{Name: "status", Value: string(Parked)},
		{Name: "reason", Value: string(rec.Reason)},
		{Name: "class", Value: string(rec.Class)},
		{Name: "detail", Value: rec.Detail},
		{Name: "parked_at", Value: rec.ParkedAt},
		{Name: "expire_at", Value: rec.ExpireAt},
	}}
}

// log writes one line for each dead letter. It names no tenant that cannot be one: the text could be anything.
func (r *Receiver) log(ctx context.Context, m *queue.Message, rec *Record, out outcome, err error) {
	level := slog.LevelWarn
	attrs := []slog.Attr{
		slog.String("dead_letter_id", rec.ID),
		slog.String("message_id", m.ID),
		slog.String("reason", string(rec.Reason)),
		slog.String("class", string(rec.Class)),
		slog.String("outcome", string(out)),
	}
	if rec.TenantID.Validate() == nil {
		attrs = append(attrs, slog.String("tenant_id", string(rec.TenantID)))
	}
	if err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.Any("error", err))
	}
	r.opts.Logger.LogAttrs(ctx, level, "dead letter", attrs...)
}
