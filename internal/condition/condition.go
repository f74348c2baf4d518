// Package condition is what tenants' rules ask of an event: {field, op, value}, compiled once and cheap to
// evaluate.
//
// A field is named by its path in the event's JSON, such as "person.title". A list matches when any of its
// elements does: "person.emails.address". Below attribution.custom_attributes and attribution.extra_options any
// key may follow. Texts are compared without regard to case.
package condition

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/usherhq/usher/consumer/visitor"
)

// Op is how a condition compares.
type Op string

// The operators.
const (
	Equals     Op = "equals"
	NotEquals  Op = "not_equals" // the opposite of equals: also true where the field is missing
	Contains   Op = "contains"
	StartsWith Op = "starts_with"
	EndsWith   Op = "ends_with"
	OneOf      Op = "one_of"
	Exists     Op = "exists"     // has a value that is not empty or zero
	Missing    Op = "missing"    // the opposite
	Greater    Op = "greater"    // numbers and times
	Less       Op = "less"       // numbers and times
	PathUnder  Op = "path_under" // a URL at or below a path of whole segments, optionally on one host
)

// ops lists the operators in the order of the documentation.
var ops = []Op{Equals, NotEquals, Contains, StartsWith, EndsWith, OneOf, Exists, Missing, Greater, Less, PathUnder}

// Ops lists the operators.
func Ops() []Op { return slices.Clone(ops) }

// Condition is a compiled condition. It is safe for concurrent use. The zero value matches every event.
type Condition struct {
	match func(*visitor.Event) bool
}

// Match reports whether the event meets the condition.
func (c Condition) Match(ev *visitor.Event) bool { return c.match == nil || c.match(ev) }

// All returns the condition that every one of conds is met; without conds it always is.
func All(conds ...Condition) Condition {
	return Condition{func(ev *visitor.Event) bool {
		for i := range conds {
			if !conds[i].Match(ev) {
				return false
			}
		}
		return true
	}}
}

// Any returns the condition that at least one of conds is met; without conds it never is.
func Any(conds ...Condition) Condition {
	return Condition{func(ev *visitor.Event) bool {
		for i := range conds {
			if conds[i].Match(ev) {
				return true
			}
		}
		return false
	}}
}

// CompileList compiles several conditions and reports the problems of all, each with its index.
func CompileList(list []map[string]any) ([]Condition, error) {
	out := make([]Condition, len(list))
	var errs []error
	for i, m := range list {
		c, err := Compile(m)
		if err != nil {
			errs = append(errs, fmt.Errorf("item %d: %w", i, err))
		}
		out[i] = c
	}
	return out, errors.Join(errs...)
}

// Compile checks a condition {field, op, value} as decoded from a tenant's settings and prepares it. It reports
// every problem at once; values are not quoted.
func Compile(m map[string]any) (Condition, error) {
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k != "field" && k != "op" && k != "value" {
			fail(fmt.Errorf("%s: unknown key (want field, op, value)", k))
		}
	}
	name, _ := m["field"].(string)
	f, err := lookup(name)
	fail(err)
	text, _ := m["op"].(string)
	op := Op(text)
	if !slices.Contains(ops, op) {
		fail(fmt.Errorf("op: want one of %v", ops))
	}
	if len(errs) > 0 {
		return Condition{}, errors.Join(errs...)
	}
	leaf, err := newTest(f.kind, op, m["value"])
	if err != nil {
		return Condition{}, err
	}
	if f.kind == free {
		leaf = inMap(f.key, leaf)
	}
	negate := op == NotEquals || op == Missing
	return Condition{func(ev *visitor.Event) bool {
		return anyAt(reflect.ValueOf(ev).Elem(), f.steps, leaf) != negate
	}}, nil
}

// test reports whether one value of the field meets the operator; the negative operators use the test of their
// opposite.
type test func(v reflect.Value) bool

// anyAt walks from v along steps and reports whether leaf holds for any value found.
func anyAt(v reflect.Value, steps []int, leaf test) bool {
	for i, s := range steps {
		if s != each {
			v = v.Field(s)
			continue
		}
		for j := range v.Len() {
			if anyAt(v.Index(j), steps[i+1:], leaf) {
				return true
			}
		}
		return false
	}
	return leaf(v)
}

// inMap applies leaf to the value of a free map's key. A key may hold dots; otherwise they lead into objects.
func inMap(key string, leaf test) test {
	return func(v reflect.Value) bool {
		m, ok := v.Addr().Interface().(*map[string]any)
		return ok && anyIn(*m, key, leaf)
	}
}

func anyIn(m map[string]any, key string, leaf test) bool {
	if v, ok := m[key]; ok {
		return anyOf(v, leaf)
	}
	head, rest, ok := strings.Cut(key, ".")
	if !ok {
		return false
	}
	inner, ok := m[head].(map[string]any)
	return ok && anyIn(inner, rest, leaf)
}

// anyOf applies leaf to a free value, or to the elements of a free list.
func anyOf(v any, leaf test) bool {
	list, ok := v.([]any)
	if !ok {
		return v != nil && leaf(reflect.ValueOf(v))
	}
	for _, e := range list {
		if anyOf(e, leaf) {
			return true
		}
	}
	return false
}
