// Package profile turns events into stored identifications and merged visitor profiles.
//
// Merging is commutative: a profile is a function of the set of its events, whatever their order. The
// built-in processor "profile" asks for it.
package profile

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/fields"
	"github.com/usherhq/usher/internal/store"
)

// Bounds of a profile. Sets keep their smallest elements, which is a function of the set of events.
const (
	maxRecent      = 8  // ids of the latest commits, to find duplicates while reading
	maxEmails      = 20 // addresses
	maxPhones      = 20
	maxIdentifiers = 60
	maxSources     = 20

	maxText = 2 << 10  // bytes of a text; a longer one is cut
	maxMap  = 64 << 10 // bytes of a map; a larger one is left out
)

// Visitor is a visitor's stored document while it is being merged.
type Visitor struct {
	visitor.Profile
	recent []visitor.EventID
	state  state
}

// Load reads a visitor's document; a missing one gives an empty visitor.
func Load(d store.Doc) *Visitor {
	v := &Visitor{state: decodeState(d.Fields.Bytes("merge"))}
	fields.Decode(d.Fields, &v.Profile)
	for _, id := range d.Fields.Texts("recent") {
		v.recent = append(v.recent, visitor.EventID(id))
	}
	return v
}

// Merge merges an event under its final id.
func (v *Visitor) Merge(ev *visitor.Event, id visitor.EventID) {
	v.ID, v.TenantID = ev.VisitorID, ev.TenantID
	at := ev.Receipt.ReceivedAt
	if plausible(ev, ev.IdentifiedAt) {
		at = ev.IdentifiedAt
	}
	at = at.UTC().Truncate(time.Microsecond)
	if v.FirstSeen.IsZero() || at.Before(v.FirstSeen) {
		v.FirstSeen = at
	}
	if at.After(v.LastSeen) {
		v.LastSeen = at
	}
	v.Events++
	v.Stage = laterStage(v.Stage, ev.Stage)
	v.Sources = addText(v.Sources, ev.Source, maxSources)
	for _, ident := range ev.Identifiers() {
		v.Identifiers = addText(v.Identifiers, visitor.HashIdentifier(ev.TenantID, ident), maxIdentifiers)
	}
	v.mergeScalars(ev, at)
	v.mergeSets(ev, at)
	v.state.addTouch(touchOf(ev, at))
	v.Visits = visits(v.state.touches)
	v.recent = append(v.recent, id)
	if len(v.recent) > maxRecent {
		v.recent = v.recent[len(v.recent)-maxRecent:]
	}
}

// AddScore adds points to a named score.
func (v *Visitor) AddScore(name string, points int64) {
	if v.Scores == nil {
		v.Scores = map[string]int64{}
	}
	v.Scores[name] += points
}

// Fields returns the document to store; it expires at expireAt.
func (v *Visitor) Fields(expireAt time.Time) store.Fields {
	f := fields.Encode(&v.Profile)
	recent := make([]any, len(v.recent))
	for i, id := range v.recent {
		recent[i] = string(id)
	}
	return append(f,
		store.Field{Name: "recent", Value: recent},
		store.Field{Name: "merge", Value: v.state.encode()},
		store.Field{Name: "expire_at", Value: expireAt},
	)
}

// stages in the order of a vendor's work.
var stages = []visitor.Stage{
	"", visitor.StageResolved, visitor.StageQualified, visitor.StageEnriched, visitor.StageValidated, visitor.StageFinalized,
}

func laterStage(a, b visitor.Stage) visitor.Stage {
	if slices.Index(stages, b) > slices.Index(stages, a) {
		return b
	}
	return a
}

// rank is 0 for what a vendor sends before it has enriched a visitor, so that it never undoes the rest.
func rank(s visitor.Stage) uint8 {
	if s == visitor.StageResolved || s == visitor.StageQualified {
		return 0
	}
	return 1
}

func (v *Visitor) stampOf(ev *visitor.Event, at time.Time, ranked bool) stamp {
	st := stamp{at: at.UnixMicro(), tie: hash32(string(ev.ID))}
	if ranked {
		st.rank = rank(ev.Stage)
	}
	return st
}

func (v *Visitor) mergeScalars(ev *visitor.Event, at time.Time) {
	src, dst := reflect.ValueOf(ev).Elem(), reflect.ValueOf(&v.Profile).Elem()
	ranked, plain := v.stampOf(ev, at, true), v.stampOf(ev, at, false)
	for i := range leaves {
		l := &leaves[i]
		val := src.FieldByIndex(l.event)
		if val.IsZero() || val.Kind() == reflect.Map && !fits(val) {
			continue
		}
		st := plain
		if l.ranked {
			st = ranked
		}
		if !v.state.stamps.raise(l.hash, st) {
			continue
		}
		if to := dst.FieldByIndex(l.target); val.Kind() == reflect.String {
			to.SetString(short(val.String()))
		} else {
			to.Set(val)
		}
	}
}

// fits reports whether a free map has something in it, and not so much that profiles would outgrow a document.
func fits(m reflect.Value) bool {
	free, _ := m.Interface().(map[string]any)
	return len(free) > 0 && weigh(free) <= maxMap
}

// weigh is about how many bytes a value out of JSON takes in a document.
func weigh(v any) int {
	n := 8
	switch v := v.(type) {
	case string:
		n += len(v)
	case []any:
		for _, e := range v {
			n += weigh(e)
		}
	case map[string]any:
		for k, e := range v {
			n += len(k) + weigh(e)
		}
	}
	return n
}

// short cuts a text to maxText bytes, between characters.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// mergeSets merges addresses and numbers: one element for each, its details decided like scalars.
func (v *Visitor) mergeSets(ev *visitor.Event, at time.Time) {
	st := v.stampOf(ev, at, true)
	for _, m := range ev.Person.Emails {
		key := strings.ToLower(m.Address)
		if key == "" || len(m.Address) > maxText {
			continue
		}
		i, ok := slices.BinarySearchFunc(v.Person.Emails, key, func(e visitor.Email, k string) int {
			return cmp.Compare(strings.ToLower(e.Address), k)
		})
		if !ok {
			v.Person.Emails = slices.Insert(v.Person.Emails, i, visitor.Email{Address: m.Address})
		}
		v.setText(&v.Person.Emails[i].Address, m.Address, emailLeaf(key, "address"), st)
		v.setText((*string)(&v.Person.Emails[i].Kind), string(m.Kind), emailLeaf(key, "kind"), st)
		v.setText(&v.Person.Emails[i].Validity, m.Validity, emailLeaf(key, "validity"), st)
		if n := len(v.Person.Emails); n > maxEmails {
			gone := strings.ToLower(v.Person.Emails[n-1].Address)
			for _, l := range []string{"address", "kind", "validity"} {
				v.state.stamps.forget(emailLeaf(gone, l))
			}
			v.Person.Emails = v.Person.Emails[:n-1]
		}
	}
	for _, p := range ev.Person.Phones {
		if p.Number == "" || len(p.Number) > maxText {
			continue
		}
		i, ok := slices.BinarySearchFunc(v.Person.Phones, p.Number, func(e visitor.Phone, k string) int {
			return cmp.Compare(e.Number, k)
		})
		if !ok {
			v.Person.Phones = slices.Insert(v.Person.Phones, i, visitor.Phone{Number: p.Number})
		}
		v.setText(&v.Person.Phones[i].Kind, p.Kind, phoneLeaf(p.Number), st)
		if n := len(v.Person.Phones); n > maxPhones {
			v.state.stamps.forget(phoneLeaf(v.Person.Phones[n-1].Number))
			v.Person.Phones = v.Person.Phones[:n-1]
		}
	}
}

func emailLeaf(key, part string) uint32 { return hash32("person.emails:" + key + "." + part) }
func phoneLeaf(number string) uint32    { return hash32("person.phones:" + number + ".kind") }

func (v *Visitor) setText(dst *string, val string, h uint32, st stamp) {
	if val != "" && v.state.stamps.raise(h, st) {
		*dst = short(val)
	}
}

// addText adds to a sorted set that keeps its smallest limit elements.
func addText(set []string, s string, limit int) []string {
	i, found := slices.BinarySearch(set, s)
	if found || i >= limit {
		return set
	}
	set = slices.Insert(set, i, s)
	return set[:min(len(set), limit)]
}

// touchOf is the span of the event's session, or its moment without one.
func touchOf(ev *visitor.Event, at time.Time) touch {
	t := touch{start: at.UnixMicro(), site: hash32(ev.Session.Host + "|" + ev.Session.TrackingID)}
	if s := ev.Session.StartedAt; plausible(ev, s) {
		t.start = s.UnixMicro()
	}
	t.end = t.start
	for _, e := range []time.Time{ev.Session.EndedAt, ev.Session.LastActivityAt} {
		if plausible(ev, e) {
			t.end = max(t.end, e.UnixMicro())
		}
	}
	return t
}

// plausible reports whether a vendor's time can be one of the event: one impossible time would otherwise
// decide every merge to come.
func plausible(ev *visitor.Event, t time.Time) bool {
	return visitor.PlausibleTime(t, ev.Receipt.ReceivedAt)
}
