// Package held keeps the events of paused tenants until they are released.
//
// An event is kept as the message it came in, which is acked only after it is stored. It is deleted only after Pub/Sub has
// acknowledged its copy and if nobody was told meanwhile that it is kept, so none is lost; a copy too many has no
// effect, since it has the same identity.
package held

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/parts"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/store"
)

// Options configure a [Keeper]. All are required.
type Options struct {
	Store     store.Store
	Now       func() time.Time
	Retention time.Duration // how long an event is kept
	Timeout   time.Duration // for storing one
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	for what, ok := range map[string]bool{
		"store: required": o.Store != nil, "now: required": o.Now != nil,
		"retention: want more than 0": o.Retention > 0, "timeout: want more than 0": o.Timeout > 0,
	} {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	return errors.Join(errs...)
}

// Keeper stores events of paused tenants. It is safe for concurrent use.
type Keeper struct{ opts Options }

// New returns a keeper.
func New(o Options) (*Keeper, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("held: %w", err)
	}
	return &Keeper{o}, nil
}

var errTimeout = errors.New("event was not held in time")

// maxTries bounds how often an event is written in the face of concurrent writers.
const maxTries = 10

// Hold stores an event and the message that brings it back. An event that is held already is noted, and the
// first of its messages stays. Errors are the store's.
func (k *Keeper) Hold(ctx context.Context, ev *visitor.Event, m *queue.Message) error {
	// What was begun is finished even while receiving ends.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), k.opts.Timeout, errTimeout)
	defer cancel()
	now := k.opts.Now().UTC().Truncate(time.Microsecond)
	rec := record{
		tenant: ev.TenantID,
		source: ev.Source, attributes: m.Attributes, receivedAt: ev.Receipt.ReceivedAt, heldAt: now,
		expireAt: now.Add(k.opts.Retention), payload: envelope.Compress(m.Data),
	}
	rec.size = len(rec.payload)
	if rec.size > maxInline {
		var err error
		// Parts are of this try alone: a record never gets those of another message with the same id, nor loses
		// its own when another try or a release cleans up.
		rec.partsKey = rand.Text()
		if rec.parts, err = parts.Write(ctx, k.opts.Store, rec.place, rec.payload, rec.expireAt); err != nil {
			return fmt.Errorf("hold: %w", err)
		}
	}
	if err := k.put(ctx, ev, &rec); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	return nil
}

// put creates the record, or notes in an existing one that the event came again.
func (k *Keeper) put(ctx context.Context, ev *visitor.Event, rec *record) error {
	path, err := layout.HeldEvent(ev.TenantID, ev.ID)
	if err != nil {
		return err
	}
	first := path
	for range maxTries {
		err = k.opts.Store.Commit(ctx, []store.Write{{Path: path, Fields: rec.fields(), IfMissing: true}})
		if code.Of(err) != code.Conflict {
			return err
		}
		docs, readErr := k.opts.Store.Get(ctx, []store.Path{path})
		switch {
		case readErr != nil:
			return readErr
		case !docs[0].Exists:
			continue // released meanwhile, or the commit lost a race for something else
		}
		if path == first && repeated(ev, docs[0].Fields.Time("received_at")) {
			// A new occurrence of the same body: the committer will tell the two apart, if both come to it.
			if path, err = layout.HeldEvent(ev.TenantID, ev.ID.Occurrence(ev.Day())); err != nil {
				return err
			}
			continue
		}
		// Whoever releases this record must hear of it: the message that brought the event again may be the very
		// copy that was published, come to a daemon that does not know of the release yet.
		err = k.opts.Store.Commit(ctx, []store.Write{{
			Path: path, Add: []store.Increment{{Field: []string{"repeats"}, N: 1}}, IfVersion: docs[0].Version,
		}})
		if code.Of(err) != code.Conflict {
			return err
		}
	}
	return err
}

// repeated reports whether the event, whose id is derived from its body, is another occurrence than the one
// received at a time.
func repeated(ev *visitor.Event, at time.Time) bool {
	return ev.RepeatAfterSeconds > 0 && ev.Receipt.ReceivedAt.Sub(at).Abs() > time.Duration(ev.RepeatAfterSeconds)*time.Second
}
