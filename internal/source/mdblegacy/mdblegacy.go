// Package mdblegacy reads MDB's legacy webhook, {version, options, data}: one per identified session, without
// id and signature, so its identity is its content and its tenant is the claim of the page's pixel.
package mdblegacy

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mapping"
)

// Name is the source's name.
const Name = "mdb_legacy"

// version is the only one there ever was.
const version = "v1"

// repeatAfter is MDB's retry window of five minutes with room to spare. An equal body received later is another
// session, and what else of it comes on that UTC day counts as that one.
const repeatAfter = time.Hour

// Adapter implements [source.Adapter].
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Info implements [source.Adapter].
func (Adapter) Info() source.Info {
	return source.Info{
		Name:        Name,
		Title:       "MDB (legacy webhook)",
		Description: "One webhook per identified session, {version, options, data}; the pixel's options name the tenant.",
		RepeatAfter: repeatAfter,
	}
}

// Parse reads one webhook. Nothing is required of data: the vendor does not document it. Records have no routes:
// a webhook that names no tenant is answered as the cookbook does, whatever page it comes from.
func (Adapter) Parse(body []byte) ([]source.Record, error) {
	v, err := jsontree.Parse(body)
	if err != nil || v.Kind() != jsontree.Object {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "body is not a JSON object"}
	}
	if v.Get("version").Kind() != jsontree.String || v.Get("version").Text() != version {
		return nil, &source.Error{Outcome: source.UnsupportedVersion, Detail: "version"}
	}
	options, data := v.Get("options").Nested(), v.Get("data").Nested()
	rec := source.Record{
		Tenant: mapping.TenantClaim(options, mapping.TenantOption),
		// A Node publisher prints all numbers anew, so only their values are identity.
		Canonical: v.CanonicalOf(jsontree.AsFloat64, "data", "options", "version"),
		Raw:       v.Raw(),
	}
	event(&rec.Event, options, data)
	return []source.Record{rec}, nil
}

// event maps what data may hold: the flat profile that the vendor pushes elsewhere, or the parts of its newer
// webhooks.
func event(ev *visitor.Event, options, data *jsontree.Value) {
	mapping.IdentifiedAt(ev, data, "identified_at", "timestamp", "created")
	mapping.Options(&ev.Attribution, options)
	mapping.Session(ev, data.Get("session"))
	mapping.Origin(ev, data.Get("attribution"))
	mapping.Flat(ev, data)
	mapping.Identity(ev, data)
	mapping.Identity(ev, data.Get("identity"))
	mapping.Enrichment(ev, data.Get("enrichment"))
	if ev.Session.VendorVisitor == "" {
		ev.Session.VendorVisitor = mapping.ID(data, "person_id")
	}
	if ev.Session.Host == "" {
		ev.Session.Host = mapping.VisitHost(&ev.Visit)
	}
	mapping.Duration(&ev.Visit, ev.Session.StartedAt, ev.Session.EndedAt)
}

// Body returns the webhook that a publisher received, given the options and data that it passed on, be it after
// reading and printing them in JavaScript: [Adapter.Parse] gives both the same identity. A nil argument is a member
// that was not there.
func Body(options, data json.RawMessage) []byte {
	b := append(make([]byte, 0, len(options)+len(data)+40), `{"version":"`+version+`"`...)
	if options != nil {
		b = append(append(b, `,"options":`...), options...)
	}
	if data != nil {
		b = append(append(b, `,"data":`...), data...)
	}
	return append(b, '}')
}

// Reply answers as the vendor's cookbook does. What is parked because of its content gets the cookbook's 400
// too: the vendor's few retries of five minutes do no harm.
func (Adapter) Reply(r source.Result) source.Reply {
	if r.Outcome == source.Parked && r.Why != "" {
		r.Outcome = r.Why
	}
	if r.Outcome == source.Failed {
		return source.Fail(http.StatusInternalServerError, "Processing failed")
	}
	return source.DefaultReply(r)
}
