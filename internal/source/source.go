// Package source is the contract of vendor adapters: how a webhook's body becomes events, and what each
// vendor wants to hear. An adapter does no I/O and never authenticates.
package source

import (
	"errors"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
)

// Adapter reads the webhooks of one vendor. Implementations are safe for concurrent use.
type Adapter interface {
	// Info describes the vendor's feed.
	Info() Info
	// Parse reads an authentic body. It accepts every known shape and ignores what it does not know. It
	// returns an [*Error] for a body that no event can be made of; the text quotes nothing of the body.
	Parse(body []byte) ([]Record, error)
	// Reply is what the vendor hears.
	Reply(r Result) Reply
}

// Info describes a vendor's feed.
type Info struct {
	Name        string // as in configuration and in the event, such as "midbound"
	Title       string // the vendor's name
	Description string
	// RepeatAfter is the vendor's retry window for events without an id: the same body after longer than
	// this is a new event, of which there is at most one a UTC day.
	RepeatAfter time.Duration
	// PerAttempt names the fields of a record that change from attempt to attempt and so are no part of
	// its identity.
	PerAttempt []string
}

// Record is one event of a body, normalised, not yet resolved: ids, tenant and receipt are not set.
type Record struct {
	Event visitor.Event
	// VendorID is the vendor's event id inside the body, "" without one.
	VendorID string
	// Tenant is the tenant that the payload names, "" without one. It is the vendor's claim.
	Tenant string
	// Routes are the values a tenant can be found by, most specific first.
	Routes []Route
	// Canonical is the record in canonical JSON without the per-attempt fields: the identity of an event
	// that has no id. It may be nil where VendorID is set.
	Canonical []byte
	// Raw is the record as the vendor sent it.
	Raw []byte
	// Test marks a vendor's test delivery: acknowledged and not stored.
	Test bool
}

// RouteKind says what a route's value is.
type RouteKind string

// The kinds of route.
const (
	RouteDomain RouteKind = "domain" // a normalised website host
	RoutePixel  RouteKind = "pixel"  // a vendor's pixel, workspace or website id
)

// Route is a value that belongs to one tenant.
type Route struct {
	Kind  RouteKind
	Value string
}

// Outcome is what became of a request.
type Outcome string

// The outcomes, which are also the outcome codes of receipts.
const (
	Accepted           Outcome = "accepted"            // published and acknowledged
	AcceptedTest       Outcome = "accepted_test"       // a vendor's test delivery
	Parked             Outcome = "parked"              // authentic, not usable now: in the dead-letter topic
	NoEndpoint         Outcome = "no_endpoint"         // no such endpoint
	BadMethod          Outcome = "bad_method"          // not POST
	Unauthenticated    Outcome = "unauthenticated"     // refused before parsing
	TooLarge           Outcome = "too_large"           // over the body limit
	BadRequest         Outcome = "bad_request"         // the body could not be read
	UnsupportedVersion Outcome = "unsupported_version" // of the payload
	MissingTenant      Outcome = "missing_tenant"      // neither URL, payload nor route names one
	Failed             Outcome = "failed"              // usher's own fault: try again
)

// Result is what a reply is made from.
type Result struct {
	Outcome Outcome
	EventID visitor.EventID // of the first record
	// Why is the outcome that made a Parked request unusable, such as UnsupportedVersion or MissingTenant;
	// otherwise "".
	Why Outcome
}

// Reply is an HTTP answer; Body is encoded as JSON.
type Reply struct {
	Status int
	Body   any
}

// Error says why an authentic body is unusable.
type Error struct {
	Outcome Outcome // BadRequest, UnsupportedVersion, MissingTenant
	Detail  string  // static text or a field path
}

func (e *Error) Error() string { return string(e.Outcome) + ": " + e.Detail }

// ErrUnknown is returned for a source name without adapter.
var ErrUnknown = errors.New("unknown source")
