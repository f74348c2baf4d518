// Package books compares what was published with what a store holds of it: nothing lost, nothing twice, every
// counter and every first match exact, and the dead letters exactly the poison.
package books

import (
	"fmt"
	"maps"
	"slices"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/queue"
)

// AttrPoison is the message attribute by which a poisonous message is found again among the dead letters.
const AttrPoison = "books_poison"

// Expected is what was published. The zero value expects nothing. It is not safe for concurrent use.
type Expected struct {
	tenants  map[visitor.TenantID]*wanted
	poison   map[string][]envelope.Reason
	messages int
	distinct int
}

// wanted is what one tenant is to have.
type wanted struct {
	events   map[visitor.EventID]visitor.VisitorID
	visitors map[visitor.VisitorID]int64 // events of each
	days     map[string]int64            // events by usage day
	sources  map[string]int64
	unknown  int64 // events without a visitor
}

// Add expects an event, and reports whether it is a new one: it may be published any number of times.
func (e *Expected) Add(ev *visitor.Event) bool {
	e.messages++
	if e.tenants == nil {
		e.tenants = map[visitor.TenantID]*wanted{}
	}
	w := e.tenants[ev.TenantID]
	if w == nil {
		w = &wanted{
			events: map[visitor.EventID]visitor.VisitorID{}, visitors: map[visitor.VisitorID]int64{},
			days: map[string]int64{}, sources: map[string]int64{},
		}
		e.tenants[ev.TenantID] = w
	}
	if _, ok := w.events[ev.ID]; ok {
		return false
	}
	v := ev.Visitor()
	w.events[ev.ID] = v
	w.days[ev.Day()]++
	w.sources[ev.Source]++
	if v == "" {
		w.unknown++
	} else {
		w.visitors[v]++
	}
	e.distinct++
	return true
}

// AddPoison marks a message as poisonous and expects it to be parked for one of the reasons.
func (e *Expected) AddPoison(m *queue.Message, reasons ...envelope.Reason) {
	if e.poison == nil {
		e.poison = map[string][]envelope.Reason{}
	}
	e.messages++
	id := fmt.Sprint(len(e.poison))
	if m.Attributes == nil {
		m.Attributes = map[string]string{}
	}
	m.Attributes[AttrPoison] = id
	e.poison[id] = reasons
}

// Messages is how many messages were expected, repetitions and poison included.
func (e *Expected) Messages() int { return e.messages }

// Distinct is how many different events were expected.
func (e *Expected) Distinct() int { return e.distinct }

// Poison is how many poisonous messages were expected.
func (e *Expected) Poison() int { return len(e.poison) }

// Tenants are the tenants of the expected events, in order.
func (e *Expected) Tenants() []visitor.TenantID { return slices.Sorted(maps.Keys(e.tenants)) }

// Report is what a check found.
type Report struct {
	Distinct   int   `json:"distinct"`   // events that were expected
	Stored     int   `json:"stored"`     // of them stored
	Lost       int   `json:"lost"`       // of them missing
	Duplicated int64 `json:"duplicated"` // identifications that nobody published, and events counted too often
	Counters   bool  `json:"counters_exact"`
	FirstMatch bool  `json:"first_match_exact"`
	Letters    int   `json:"dead_letters"`
	Parked     bool  `json:"dead_letters_exact"`
	// Deviations say what is wrong, at most MaxDeviations of each kind and how many more there are.
	Deviations []string `json:"deviations,omitempty"`

	kinds map[string]*kind
}

// kind counts the deviations of one kind.
type kind struct{ seen, more int }

// MaxDeviations is how many deviations of one kind a report tells.
const MaxDeviations = 3

// Balanced reports whether everything is as expected.
func (r *Report) Balanced() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.Counters && r.FirstMatch && r.Parked && len(r.Deviations) == 0
}

// deviate notes a deviation; those of one format are of one kind.
func (r *Report) deviate(format string, args ...any) {
	if r.kinds == nil {
		r.kinds = map[string]*kind{}
	}
	k := r.kinds[format]
	if k == nil {
		k = &kind{}
		r.kinds[format] = k
	}
	switch k.seen++; {
	case k.seen <= MaxDeviations:
		r.Deviations = append(r.Deviations, fmt.Sprintf(format, args...))
	case k.seen == MaxDeviations+1:
		k.more = len(r.Deviations)
		r.Deviations = append(r.Deviations, "")
		fallthrough
	default:
		r.Deviations[k.more] = fmt.Sprintf("%d more such as the last: %s", k.seen-MaxDeviations, fmt.Sprintf(format, args...))
	}
}
