// Package leadpipe reads Leadpipe's webhooks in their flat shape, one record or a list of them. The vendor has
// no delivery id and switches a webhook off that does not answer 200.
package leadpipe

import (
	"strings"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/mapping"
)

// Name is the source's name.
const Name = "leadpipe"

// repeatAfter is wide because the vendor does not document its retries.
const repeatAfter = 24 * time.Hour

// Adapter implements [source.Adapter].
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Info implements [source.Adapter].
func (Adapter) Info() source.Info {
	return source.Info{
		Name:        Name,
		Title:       "Leadpipe",
		Description: "One webhook per matched visitor, or per update; the website's domain names the tenant.",
		RepeatAfter: repeatAfter,
	}
}

// Parse reads one record or a list of them. A list with one record that is unusable is unusable as a whole: it
// is kept as it came.
func (Adapter) Parse(body []byte) ([]source.Record, error) {
	v, err := jsontree.Parse(body)
	if err != nil {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "body is not JSON"}
	}
	if v.Kind() != jsontree.List {
		rec, err := record(v)
		if err != nil {
			return nil, err
		}
		return []source.Record{rec}, nil
	}
	items := v.Items()
	if len(items) == 0 {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "list is empty"}
	}
	recs := make([]source.Record, len(items))
	for i := range items {
		if recs[i], err = record(&items[i].Value); err != nil {
			return nil, err
		}
	}
	return recs, nil
}

// nested are the members that only the vendor's other shapes have.
var nested = []string{"data", "person", "visitor", "contact", "visit"}

func record(v *jsontree.Value) (source.Record, error) {
	if v.Kind() != jsontree.Object {
		return source.Record{}, &source.Error{Outcome: source.BadRequest, Detail: "record is not an object"}
	}
	rec := source.Record{Raw: v.Raw(), Canonical: v.Canonical()}
	ev := &rec.Event
	ev.Session.Host = mapping.Host(v, "domain")
	// A test is acknowledged whatever its shape: a synthetic visitor is nothing to keep.
	if rec.Test = strings.EqualFold(v.Get("trigger").Text(), "test"); rec.Test {
		return rec, nil
	}
	for _, name := range nested {
		if v.Get(name).Kind() == jsontree.Object {
			return source.Record{}, &source.Error{Outcome: source.BadRequest, Detail: "shape: " + name}
		}
	}
	mapping.IdentifiedAt(ev, v, "identified_at", "timestamp")
	mapping.Flat(ev, v)
	if ev.Session.Host == "" {
		ev.Session.Host = mapping.VisitHost(&ev.Visit)
	}
	if !known(ev) {
		return source.Record{}, &source.Error{Outcome: source.BadRequest, Detail: "no known field"}
	}
	if h := ev.Session.Host; h != "" {
		rec.Routes = []source.Route{{Kind: source.RouteDomain, Value: h}}
	}
	return rec, nil
}

// known reports whether anything of the record was understood.
func known(ev *visitor.Event) bool {
	p, c := &ev.Person, &ev.Company
	return ev.Session.Host != "" || len(p.Emails) > 0 || p.LinkedInURL != "" || p.FirstName != "" ||
		p.LastName != "" || p.FullName != "" || c.Name != "" || c.Domain != ""
}

// Reply answers 200 to all that is authentic, as the vendor asks: repeated failures switch the webhook off.
// Only usher's own outage is worth a retry.
func (Adapter) Reply(r source.Result) source.Reply {
	switch r.Outcome {
	case source.Parked, source.BadRequest, source.UnsupportedVersion, source.MissingTenant:
		return source.OK(r)
	}
	return source.DefaultReply(r)
}
