// Package resolve turns a vendor's records into events: it finds each record's tenant, derives its ids and
// settles its times. Webhooks, cookbook messages and redrive all go through it, so one webhook gets one event
// id whichever way and however often it comes.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/source"
)

// DefaultRepeatAfter is the retry window of an endpoint whose source does not know its vendor's.
const DefaultRepeatAfter = 24 * time.Hour

// MaxRecords is how many records one body may have: it bounds what one request makes usher look up and publish.
const MaxRecords = 1000

// TenantFinder knows which tenant a route belongs to.
type TenantFinder interface {
	// ByRoute returns the route's tenant, false for a route of nobody. An error means that the answer is not
	// known now.
	ByRoute(ctx context.Context, r source.Route) (visitor.TenantID, bool, error)
}

// Endpoint is one configured inbound feed of a source.
type Endpoint struct {
	Name    string
	Adapter source.Adapter
	// Tenants are those that the endpoint may speak for; empty means any.
	Tenants []visitor.TenantID
	// RepeatAfter is the retry window for events without an id; 0 means the source's own.
	RepeatAfter time.Duration
}

// Validate reports every problem of the endpoint at once.
func (e *Endpoint) Validate() error {
	var errs []error
	if e.Name == "" {
		errs = append(errs, errors.New("name: missing"))
	}
	if e.Adapter == nil {
		errs = append(errs, errors.New("adapter: missing"))
	}
	if e.RepeatAfter < 0 {
		errs = append(errs, errors.New("repeat_after: negative"))
	}
	for i, t := range e.Tenants {
		if err := t.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("tenants[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// repeatAfter is the retry window in force, never zero.
func (e *Endpoint) repeatAfter() time.Duration {
	if e.RepeatAfter > 0 {
		return e.RepeatAfter
	}
	if d := e.Adapter.Info().RepeatAfter; d > 0 {
		return d
	}
	return DefaultRepeatAfter
}

// Request is what is known of a webhook besides its body.
type Request struct {
	// Tenant is the tenant named around the payload, such as by the URL's path; "" for none.
	Tenant string
	// VerifiedID is the delivery id that the signature covered; "" for none.
	VerifiedID string
	Origin     visitor.Origin
	// Receipt is the first one; its Endpoint is set by the resolver.
	Receipt visitor.Receipt
}

// Error says why an authentic record or body cannot become an event of a tenant. Its text quotes nothing.
type Error struct {
	Reason  envelope.Reason
	Outcome source.Outcome // what the vendor did wrong, for the reply
	Detail  string         // static text or a field path
	// TenantID is the tenant that was claimed, where it is one and legal.
	TenantID visitor.TenantID
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

// Item is what became of one record: an event, a test delivery or an error.
type Item struct {
	Event *visitor.Event
	Raw   []byte // the record as sent
	Host  string // the website, where known
	Test  bool
	Err   *Error
}

// Resolver resolves records. It is safe for concurrent use.
type Resolver struct{ finder TenantFinder }

// New returns a resolver; without a finder no route belongs to anybody.
func New(finder TenantFinder) *Resolver { return &Resolver{finder: finder} }

// Webhook resolves every record of an authentic body. An [*Error] means that nothing can be made of the body;
// any other error is the platform's, and the same call again is right. Records fail one by one, in their items.
func (r *Resolver) Webhook(ctx context.Context, ep *Endpoint, req Request, body []byte) ([]Item, error) {
	recs, err := ep.Adapter.Parse(body)
	if err != nil {
		return nil, parseError(err)
	}
	switch {
	case len(recs) == 0:
		return nil, unusable("no records")
	case len(recs) > MaxRecords:
		return nil, &Error{Reason: envelope.ReasonTooLarge, Outcome: source.BadRequest, Detail: "too many records"}
	}
	items := make([]Item, len(recs))
	for i := range recs {
		rec, it := &recs[i], &items[i]
		it.Raw, it.Host, it.Test = rec.Raw, host(rec), rec.Test
		if rec.Test {
			continue
		}
		it.Event, err = r.Record(ctx, ep, req, rec, i)
		if err != nil && !errors.As(err, &it.Err) {
			return nil, err
		}
	}
	return items, nil
}

// Record resolves one record, the index-th of its body; the event it returns is the record's own, completed.
// Errors are as those of [Resolver.Webhook].
func (r *Resolver) Record(ctx context.Context, ep *Endpoint, req Request, rec *source.Record, index int) (*visitor.Event, error) {
	tenant, err := r.tenant(ctx, ep, req.Tenant, rec)
	if err != nil {
		return nil, err
	}
	ev := &rec.Event
	ev.Schema, ev.Type = visitor.Schema, visitor.TypeVisitorIdentified
	ev.TenantID, ev.Source, ev.Origin = tenant, ep.Adapter.Info().Name, req.Origin
	ev.Receipt = req.Receipt
	ev.Receipt.ReceivedAt = stamp(req.Receipt.ReceivedAt)
	ev.Receipt.Endpoint = ep.Name
	if err := identify(ep, req.VerifiedID, rec, index); err != nil {
		return nil, err
	}
	settleTime(ev)
	ev.VisitorID = ev.Visitor()
	return ev, nil
}

// parseError gives an adapter's error its place among the reasons. An error that no adapter should return is
// treated like a body that cannot be read, without its text.
func parseError(err error) *Error {
	var e *source.Error
	if errors.As(err, &e) {
		return &Error{Reason: envelope.ReasonUnusable, Outcome: e.Outcome, Detail: e.Detail}
	}
	return unusable("payload")
}

func unusable(detail string) *Error {
	return &Error{Reason: envelope.ReasonUnusable, Outcome: source.BadRequest, Detail: detail}
}

// host is the website of a record.
func host(rec *source.Record) string {
	for _, rt := range rec.Routes {
		if rt.Kind == source.RouteDomain {
			return rt.Value
		}
	}
	return rec.Event.Session.Host
}
