package jsontree

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Numbers says how a canonical form writes numbers.
type Numbers uint8

// The ways to write numbers.
const (
	// AsSent keeps their text: 1.0 and 1 differ.
	AsSent Numbers = iota
	// AsFloat64 writes the float64 that JavaScript reads them as, in JavaScript's way: 1.0 and 1 are one, and so
	// are integers beyond 2^53 that round to the same. What overflows a float64 keeps its text.
	AsFloat64
)

// Canonical returns the value in canonical JSON: names in byte order, no space, minimal escapes, numbers as
// sent. Two bodies that differ only in order, space or escapes give the same bytes. Each of exclude is the
// dotted path of a field, from this value, that is left out; lists on the way stand for each of their elements.
func (v *Value) Canonical(exclude ...string) []byte {
	return v.appendCanonical(make([]byte, 0, len(v.Raw())), AsSent, exclude)
}

func (v *Value) appendCanonical(b []byte, n Numbers, exclude []string) []byte {
	switch v.Kind() {
	case Bool:
		return append(b, v.text...)
	case Number:
		return n.append(b, v.text)
	case String:
		return appendQuoted(b, v.text)
	case List:
		b = append(b, '[')
		for i := range v.kids {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.kids[i].Value.appendCanonical(b, n, exclude)
		}
		return append(b, ']')
	case Object:
		return v.appendObject(b, n, exclude)
	}
	return append(b, "null"...)
}

func (v *Value) appendObject(b []byte, n Numbers, exclude []string) []byte {
	order := make([]*Member, 0, len(v.kids))
	for i := range v.kids {
		if !slices.Contains(exclude, v.kids[i].Name) {
			order = append(order, &v.kids[i])
		}
	}
	slices.SortFunc(order, func(a, b *Member) int { return strings.Compare(a.Name, b.Name) })
	b = append(b, '{')
	for i, m := range order {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendQuoted(b, m.Name), ':')
		b = m.Value.appendCanonical(b, n, below(exclude, m.Name))
	}
	return append(b, '}')
}

// below returns the excluded paths that lead through name, without it.
func below(exclude []string, name string) []string {
	var out []string
	for _, path := range exclude {
		if head, rest, ok := strings.Cut(path, "."); ok && head == name {
			out = append(out, rest)
		}
	}
	return out
}

func appendQuoted(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // fails on invalid UTF-8 only, which Parse refuses
	return b
}

// CanonicalOf is [Value.Canonical] of an object with the named members only, with numbers written as n says.
func (v *Value) CanonicalOf(n Numbers, names ...string) []byte {
	only := Value{kind: Object, raw: v.Raw()}
	for _, m := range v.Members() {
		if slices.Contains(names, m.Name) {
			only.kids = append(only.kids, m)
		}
	}
	return only.appendCanonical(make([]byte, 0, len(v.Raw())), n, nil)
}

// append appends the JSON number that text is.
func (n Numbers) append(b []byte, text string) []byte {
	if n == AsSent || isShortInteger(text) {
		return append(b, text...)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // the number overflows: JavaScript would make it null, as any other
		return append(b, text...)
	}
	return appendFloat64(b, f)
}

// isShortInteger spares most numbers the conversion: an integer of up to 15 digits is written as it was read.
func isShortInteger(text string) bool {
	return len(text) <= 15 && text != "-0" && !strings.ContainsAny(text, ".eE")
}

// appendFloat64 appends a number as JavaScript prints it (ECMA-262, Number::toString): the shortest digits that
// read back as f, an exponent without leading zero only where f is very small or large, and no negative zero.
func appendFloat64(b []byte, f float64) []byte {
	abs := math.Abs(f)
	if abs == 0 {
		return append(b, '0')
	}
	if abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-2] == '0' { // 1e-07
		b = append(b[:n-2], b[n-1])
	}
	return b
}
