package dispatch

import (
	"context"
	"errors"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/tenant"
)

// Holder keeps the events of paused tenants.
type Holder interface {
	// Hold stores an event with the message that is to bring it back. Errors are the store's.
	Hold(ctx context.Context, ev *visitor.Event, m *queue.Message) error
}

var errInactive = errors.New("tenant has a status that this build does not know")

// settle ends a message whose tenant's status says that it is not to be processed, which it reports.
func (d *Dispatcher) settle(ctx context.Context, r *report, s tenant.Status) (settled bool, err error) {
	switch s {
	case tenant.Active:
		return false, nil
	case tenant.Disabled:
		return true, d.hold(ctx, r)
	case tenant.Offboarded:
		r.outcome = outcomeDiscarded
		return true, nil
	}
	return true, park(envelope.ReasonTenantInactive, errInactive)
}

// hold stores a message until its tenant is active again. A cookbook publisher's is replaced by one of its event, because
// what it lacks is taken from its publish time, which would be another one then.
func (d *Dispatcher) hold(ctx context.Context, r *report) error {
	m := r.m
	if resolve.IsCookbook(m) {
		raw, err := envelope.Decompress(r.raw)
		if err != nil {
			return err
		}
		if m, err = envelope.Encode(r.event, raw); err != nil {
			return err
		}
	}
	if err := d.opts.Held.Hold(ctx, r.event, m); err != nil {
		return err
	}
	r.outcome = outcomeHeld
	return nil
}
