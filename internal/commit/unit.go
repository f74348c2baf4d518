package commit

import (
	"cmp"
	"slices"
	"time"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/tenant"
)

// Item is one event with what its processors asked for, and, once committed, what became of it.
type Item struct {
	Event       *visitor.Event
	JSON        []byte // of Event, as it was sent; nil makes it anew
	Raw         []byte // compressed
	RawEncoding string
	Tenant      *tenant.Tenant
	Effects     []processor.Effect
	Bytes       int // of the message, about what its record takes

	// Result is set when Add returns nil.
	Result Result

	visitor   string      // visitorKey
	sent      []time.Time // commits that may have been applied, by the time that they wrote into the record
	sentAlone bool        // it was put back to travel alone
}

// Result is what became of an event.
type Result struct {
	// ID is the identification's id: the event's, or that of a later occurrence of the same body.
	ID visitor.EventID
	// Duplicate says that the identification was there already.
	Duplicate bool
	// FirstMatch says that the event created its visitor; not known for duplicates.
	FirstMatch bool
}

// size is about how many bytes an item adds to a batch: record, profile and parts, which take their time although
// they are Commits of their own.
func (i *Item) size() int { return i.Bytes + itemOverhead }

const itemOverhead = 4 << 10 // the profile and the names of fields

// key names what may be in one Commit at a time only: the visitor, or the event where there is none.
func (i *Item) key() string {
	if i.visitor != "" {
		return i.visitor
	}
	return string(i.Event.TenantID) + "/" + string(i.Event.ID)
}

// visitorKey names the item's visitor document, "" when none is written.
func (i *Item) visitorKey() string {
	if i.Event.VisitorID == "" || !i.wantsVisitor() {
		return ""
	}
	return string(i.Event.TenantID) + "/" + string(i.Event.VisitorID)
}

func (i *Item) wantsVisitor() bool {
	return slices.ContainsFunc(i.Effects, func(e processor.Effect) bool {
		switch e.(type) {
		case processor.MergeVisitor, processor.AddScore:
			return true
		}
		return false
	})
}

// eventKey names an event across tenants.
type eventKey struct {
	tenant visitor.TenantID
	id     visitor.EventID
}

// unit is one distinct event of a batch: the item that is committed and those that repeat it.
type unit struct {
	item    *Item
	repeats []*Item
	id      visitor.EventID // may become that of a later occurrence
	doc     store.Path      // of the identification
	visitor string          // visitorKey of item
	first   bool
	hot     bool            // another process writes its visitor too
	partsOf visitor.EventID // the id under which its raw payload's parts are stored
	rawKey  string          // of those parts
}

func (u *unit) key() eventKey { return eventKey{u.item.Event.TenantID, u.id} }

// rename gives the unit another id.
func (u *unit) rename(id visitor.EventID) error {
	p, err := layout.Identification(u.item.Event.TenantID, id)
	if err != nil {
		return err
	}
	u.id, u.doc = id, p
	return nil
}

// finish tells the unit's items what became of it.
func (u *unit) finish(duplicate bool) {
	u.item.Result = Result{ID: u.id, Duplicate: duplicate, FirstMatch: u.first && !duplicate}
	for _, r := range u.repeats {
		r.Result = Result{ID: u.id, Duplicate: true}
	}
}

// sameOccurrence reports whether an event received at a is the one received at b: always, when the vendor
// gave it an id; within the source's retry window, when the id came from the body.
func sameOccurrence(ev *visitor.Event, a, b time.Time) bool {
	return ev.RepeatAfterSeconds == 0 || a.Sub(b).Abs() <= time.Duration(ev.RepeatAfterSeconds)*time.Second
}

// gather makes units of items: the same event becomes one unit. An item that is a later occurrence of an
// event in the same batch is left for later, when the first one is stored. One whose id cannot be a document's
// is reported by itself.
func gather(items []*Item, report func(*Item, error)) (units []*unit, later []*Item) {
	seen := make(map[eventKey]*unit, len(items))
	for _, it := range items {
		k := eventKey{it.Event.TenantID, it.Event.ID}
		if u := seen[k]; u != nil {
			if sameOccurrence(it.Event, it.Event.Receipt.ReceivedAt, u.item.Event.Receipt.ReceivedAt) {
				u.repeats = append(u.repeats, it)
			} else {
				later = append(later, it)
			}
			continue
		}
		u := &unit{item: it, visitor: it.visitor}
		if err := u.rename(it.Event.ID); err != nil {
			report(it, err)
			continue
		}
		seen[k] = u
		units = append(units, u)
	}
	// In the order of the events, so that of several new events of one visitor the earliest is its first match.
	slices.SortStableFunc(units, func(a, b *unit) int {
		return cmp.Or(a.item.Event.IdentifiedAt.Compare(b.item.Event.IdentifiedAt), cmp.Compare(a.id, b.id))
	})
	return units, later
}

// bare reports that no processor asked for the record itself.
func (u *unit) bare() bool {
	return !slices.Contains(u.item.Effects, processor.Effect(processor.Record{}))
}

// record makes the unit's identification.
func (u *unit) record(now, expire time.Time) store.Write {
	r := profile.Record{
		Event: u.item.Event, JSON: u.item.JSON, Raw: u.item.Raw, RawEncoding: u.item.RawEncoding, RawParts: u.parts(), RawKey: u.rawKey,
		FirstMatch: u.first, ProcessedAt: now, ExpireAt: expire, Bare: u.bare(),
	}
	return store.Write{Path: u.doc, Fields: r.Fields(), IfMissing: true}
}
