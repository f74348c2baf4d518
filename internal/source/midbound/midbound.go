// Package midbound reads Midbound's webhooks: five kinds of event about one session, each with an id of its own,
// in any order.
package midbound

import (
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mapping"
)

// Name is the source's name.
const Name = "midbound"

// repeatAfter holds for events without any id only; nearly all have one.
const repeatAfter = 24 * time.Hour

// Adapter implements [source.Adapter].
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Info implements [source.Adapter].
func (Adapter) Info() source.Info {
	return source.Info{
		Name:        Name,
		Title:       "Midbound",
		Description: "Several webhooks per identified session, from resolved to finalized, signed after Standard Webhooks.",
		RepeatAfter: repeatAfter,
	}
}

// Parse reads one webhook in the envelope {id, type, created, data} or the older {type, timestamp, data}. Its
// session may be null, except in the last event of a session. A type that is not one of the five is unusable.
func (Adapter) Parse(body []byte) ([]source.Record, error) {
	v, err := jsontree.Parse(body)
	if err != nil || v.Kind() != jsontree.Object {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "body is not a JSON object"}
	}
	stage := stageOf(v.Get("type").Text())
	if stage == "" {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "type"}
	}
	data := v.Get("data")
	if data.Kind() != jsontree.Object {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "data"}
	}
	session := data.Get("session")
	rec := source.Record{
		VendorID: mapping.ID(v, "id"),
		Tenant:   tenant(session),
		Raw:      v.Raw(),
	}
	if rec.VendorID == "" {
		rec.Canonical = v.Canonical()
	}
	ev := &rec.Event
	ev.Stage = stage
	mapping.IdentifiedAt(ev, v, "created", "timestamp")
	event(ev, data, session)
	rec.Routes = routes(ev)
	return []source.Record{rec}, nil
}

func stageOf(eventType string) visitor.Stage {
	switch eventType {
	case "identity.resolved":
		return visitor.StageResolved
	case "identity.qualified":
		return visitor.StageQualified
	case "identity.enriched":
		return visitor.StageEnriched
	case "identity.validated":
		return visitor.StageValidated
	case "identity.session.finalized":
		return visitor.StageFinalized
	}
	return ""
}

// tenant is the "tenant" of the pixel's URL, which is the vendor's workspace id where the URL has none, else
// the pixel's option.
func tenant(session *jsontree.Value) string {
	if t := mapping.TenantClaim(session, "tenant"); t != "" {
		return t
	}
	return mapping.TenantClaim(session.Get("options").Nested(), mapping.TenantOption)
}

func event(ev *visitor.Event, data, session *jsontree.Value) {
	mapping.Session(ev, session)
	mapping.Origin(ev, data.Get("attribution"))
	mapping.Identity(ev, data.Get("identity"))
	mapping.Enrichment(ev, enrichment(data, session))
	mapping.Validations(ev, data.Get("validations"))
	if q := data.Get("query"); ev.Person.LinkedInURL == "" && q.Get("match").Text() == "linkedinUrl" {
		ev.Person.LinkedInURL = mapping.Text(q, "value")
	}
	if ev.Stage == visitor.StageFinalized {
		finalize(ev, data)
	}
	mapping.Duration(&ev.Visit, ev.Session.StartedAt, ev.Session.EndedAt)
}

// enrichment is the event's own, else the latest of the session's, which are JSON within a string.
func enrichment(data, session *jsontree.Value) *jsontree.Value {
	if e := data.Get("enrichment"); e.Kind() == jsontree.Object {
		return e
	}
	items := session.Get("enrichments").Items()
	for i := len(items) - 1; i >= 0; i-- {
		if e := items[i].Value.Get("enrichmentData").Nested(); e.Kind() == jsontree.Object {
			return e
		}
	}
	return nil
}

// finalize maps what is known once the session is over.
func finalize(ev *visitor.Event, data *jsontree.Value) {
	if end, ok := data.Get("sessionEndedAt").Time(); ok && ev.Session.EndedAt.IsZero() {
		ev.Session.EndedAt = end
	}
}

func routes(ev *visitor.Event) []source.Route {
	var r []source.Route
	if p := ev.Attribution.PixelID; p != "" {
		r = append(r, source.Route{Kind: source.RoutePixel, Value: p})
	}
	if h := ev.Session.Host; h != "" {
		r = append(r, source.Route{Kind: source.RouteDomain, Value: h})
	}
	return r
}

// Reply implements [source.Adapter]: any 2xx is success, and every other status is repeated for a day.
func (Adapter) Reply(r source.Result) source.Reply { return source.DefaultReply(r) }
