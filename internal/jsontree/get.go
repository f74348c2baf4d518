package jsontree

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Kind returns the value's type; a missing value is Null.
func (v *Value) Kind() Kind {
	if v == nil {
		return Null
	}
	return v.kind
}

// Get follows names through objects; nil when a step is missing or no object.
func (v *Value) Get(path ...string) *Value {
	for _, name := range path {
		if v = v.member(name); v == nil {
			return nil
		}
	}
	return v
}

func (v *Value) member(name string) *Value {
	if v.Kind() != Object {
		return nil
	}
	for i := range v.kids {
		if v.kids[i].Name == name {
			return &v.kids[i].Value
		}
	}
	return nil
}

// First returns the first of the named members that is there and not null, nil without one.
func (v *Value) First(names ...string) *Value {
	for _, name := range names {
		if m := v.member(name); m.Kind() != Null {
			return m
		}
	}
	return nil
}

// Members returns an object's members in the order sent, nil for anything else. Do not change them.
func (v *Value) Members() []Member {
	if v.Kind() != Object {
		return nil
	}
	return v.kids
}

// Items returns a list's elements in order, nil for anything else. Do not change them.
func (v *Value) Items() []Member {
	if v.Kind() != List {
		return nil
	}
	return v.kids
}

// Raw returns the bytes of a list or object as sent, nil for anything else. Do not change them.
func (v *Value) Raw() []byte {
	if v == nil {
		return nil
	}
	return v.raw
}

// Text returns the text of a string, number or bool without surrounding space, "" for anything else.
func (v *Value) Text() string {
	if v == nil {
		return ""
	}
	return strings.TrimSpace(v.text)
}

// Bool returns a truth value, also out of "yes", "no", 1 and 0; ok is false for anything else.
func (v *Value) Bool() (b, ok bool) {
	switch strings.ToLower(v.Text()) {
	case "true", "yes", "1":
		return true, true
	case "false", "no", "0":
		return false, true
	}
	return false, false
}

// Float returns a finite number, also out of a string; ok is false for anything else.
func (v *Value) Float() (f float64, ok bool) {
	f, err := strconv.ParseFloat(v.Text(), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// maxExact is where float64 starts to miss integers.
const maxExact = 1 << 53

// Int returns an integer, also out of a string or out of a number such as 12.0; ok is false for anything else
// and for what does not fit.
func (v *Value) Int() (n int64, ok bool) {
	if n, err := strconv.ParseInt(v.Text(), 10, 64); err == nil {
		return n, true
	}
	f, ok := v.Float()
	if !ok || f != math.Trunc(f) || math.Abs(f) >= maxExact {
		return 0, false
	}
	return int64(f), true
}

// layouts are the forms of a timestamp in words; a time without zone is UTC.
var layouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", time.DateTime, time.DateOnly}

// maxSeconds separates seconds from milliseconds: as seconds it is the year 5138, as milliseconds 1973.
const maxSeconds = 1e11

// Time returns a time in UTC out of Unix milliseconds, Unix seconds, RFC 3339 or its common deviations; ok is
// false for anything else and for years that JSON cannot write.
func (v *Value) Time() (t time.Time, ok bool) {
	if f, isNumber := v.Float(); isNumber {
		switch {
		case math.Abs(f) < maxSeconds:
			f *= 1e3
		case math.Abs(f) > maxExact:
			return time.Time{}, false
		}
		t = time.UnixMilli(int64(f)).UTC()
		return t, f != 0 && writable(t)
	}
	s := v.Text()
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, writable(t)
		}
	}
	return time.Time{}, false
}

func writable(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 && !t.IsZero() }

// Any returns the value as encoding/json would: maps, slices, strings, bools, float64 and nil. A number that
// a float64 cannot hold exactly is returned as its text.
func (v *Value) Any() any {
	switch v.Kind() {
	case Bool:
		return v.text == "true"
	case Number:
		f, ok := v.Float()
		if !ok || (math.Abs(f) >= maxExact && !strings.ContainsAny(v.text, ".eE")) {
			return v.text
		}
		return f
	case String:
		return v.text
	case List:
		l := make([]any, len(v.kids))
		for i := range v.kids {
			l[i] = v.kids[i].Value.Any()
		}
		return l
	case Object:
		m := make(map[string]any, len(v.kids))
		for i := range v.kids {
			m[v.kids[i].Name] = v.kids[i].Value.Any()
		}
		return m
	}
	return nil
}

// Nested returns the value, or the object or list that a string holds in JSON; vendors encode twice at times.
// A string that holds neither gives nil.
func (v *Value) Nested() *Value {
	if v.Kind() != String {
		return v
	}
	if s := v.Text(); strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		if n, err := Parse([]byte(s)); err == nil {
			return n
		}
	}
	return nil
}
