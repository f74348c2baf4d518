package condition

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/internal/host"
)

// opsOf says which operators a kind of field takes.
var opsOf = map[kind][]Op{
	text:     {Equals, NotEquals, Contains, StartsWith, EndsWith, OneOf, Exists, Missing, PathUnder},
	hostname: {Equals, NotEquals, Contains, StartsWith, EndsWith, OneOf, Exists, Missing},
	number:   {Equals, NotEquals, OneOf, Exists, Missing, Greater, Less},
	boolean:  {Equals, NotEquals, Exists, Missing},
	instant:  {Equals, NotEquals, Exists, Missing, Greater, Less},
	free:     ops,
	group:    {Exists, Missing},
}

// newTest makes the test of an operator; NotEquals and Missing get the test of their opposite.
func newTest(k kind, op Op, value any) (test, error) {
	if !slices.Contains(opsOf[k], op) {
		return nil, fmt.Errorf("op: %s is not for a field that holds %s (want one of %v)", op, kindNames[k], opsOf[k])
	}
	switch op {
	case Exists, Missing:
		if value != nil {
			return nil, fmt.Errorf("value: %s takes none", op)
		}
		if k == free {
			return existsFree, nil
		}
		return exists, nil
	case OneOf:
		return oneOf(k, value)
	case Contains, StartsWith, EndsWith, PathUnder:
		s, ok := value.(string)
		if !ok || s == "" {
			return nil, fmt.Errorf("value: want a text for %s", op)
		}
		return textTest(op, s)
	}
	var t test
	var err error
	if op == Greater || op == Less {
		t, err = ordered(k, op, value)
	} else {
		t, err = equals(k, value)
	}
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	return t, nil
}

func exists(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() > 0
	}
	return !v.IsZero()
}

// existsFree differs from exists in that a free false or 0 was given on purpose.
func existsFree(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Map:
		return v.Len() > 0
	}
	return true
}

// equals tests for a value of the field's kind; a free value is compared as what the condition's value is.
func equals(k kind, value any) (test, error) {
	if k == free {
		switch value.(type) {
		case string:
			k = text
		case bool:
			k = boolean
		case int, int64, float64:
			k = number
		}
	}
	switch k {
	case text:
		if s, ok := value.(string); ok && s != "" {
			return textTest(Equals, s)
		}
	case hostname:
		s, _ := value.(string)
		want, err := host.Normalize(s)
		if err != nil {
			return nil, errors.New("want a host name")
		}
		return func(v reflect.Value) bool { return v.String() == want }, nil
	case boolean:
		if want, ok := value.(bool); ok {
			return func(v reflect.Value) bool {
				v = reflect.Indirect(v)
				return v.Kind() == reflect.Bool && v.Bool() == want
			}, nil
		}
	case number:
		if want, ok := asNumber(value); ok {
			return func(v reflect.Value) bool {
				n, ok := numberOf(v)
				return ok && n == want
			}, nil
		}
	case instant:
		if want, ok := asTime(value); ok {
			return func(v reflect.Value) bool { return timeOf(v).Equal(want) }, nil
		}
	}
	return nil, wantKind(k)
}

func oneOf(k kind, value any) (test, error) {
	var list []any
	switch l := value.(type) {
	case []any:
		list = l
	case []string:
		for _, s := range l {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("value: want a list of at least one value for %s", OneOf)
	}
	tests := make([]test, len(list))
	for i, e := range list {
		t, err := equals(k, e)
		if err != nil {
			return nil, fmt.Errorf("value: item %d: %w", i, err)
		}
		tests[i] = t
	}
	return func(v reflect.Value) bool {
		for _, t := range tests {
			if t(v) {
				return true
			}
		}
		return false
	}, nil
}

// ordered tests numbers and times. A missing number or time is neither greater nor less than anything; since an
// event leaves zero out, zero is missing.
func ordered(k kind, op Op, value any) (test, error) {
	if k == instant {
		want, ok := asTime(value)
		if !ok {
			return nil, wantKind(k)
		}
		return func(v reflect.Value) bool {
			at := timeOf(v)
			return !at.IsZero() && (op == Greater && at.After(want) || op == Less && at.Before(want))
		}, nil
	}
	want, ok := asNumber(value)
	if !ok {
		return nil, wantKind(number)
	}
	return func(v reflect.Value) bool {
		n, ok := numberOf(v)
		if !ok || (k == number && v.IsZero()) {
			return false
		}
		return op == Greater && n > want || op == Less && n < want
	}, nil
}

func wantKind(k kind) error {
	switch k {
	case text:
		return errors.New("want a text that is not empty")
	case instant:
		return errors.New("want a time like 2026-01-31 or 2026-01-31T12:00:00Z")
	case free:
		return errors.New("want a text, number or boolean")
	}
	return fmt.Errorf("want a %s", kindNames[k])
}

// asNumber accepts what JSON, YAML and Firestore decode a number to.
func asNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, !math.IsNaN(n)
	}
	return 0, false
}

func asTime(v any) (time.Time, bool) {
	switch t := v.(type) {
	case time.Time: // YAML and Firestore have times of their own
		return t, !t.IsZero()
	case string:
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if at, err := time.Parse(layout, t); err == nil && !at.IsZero() {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// numberOf reads a field or a free value; in free values, vendors and sites also write numbers as text.
func numberOf(v reflect.Value) (float64, bool) {
	v = reflect.Indirect(v)
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return float64(v.Int()), true
	case reflect.Float64:
		return v.Float(), true
	case reflect.String:
		n, err := strconv.ParseFloat(strings.TrimSpace(v.String()), 64)
		return n, err == nil
	}
	return 0, false
}

// timeOf reads a time field in place, without a copy on the heap.
func timeOf(v reflect.Value) time.Time {
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		return *t
	}
	return time.Time{}
}

// textOf reads a text field, or a free value as text.
func textOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return ""
}
