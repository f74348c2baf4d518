package jsontree

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Canonical returns the value in canonical JSON: names in byte order, no space, minimal escapes, numbers as
// sent. Two bodies that differ only in order, space or escapes give the same bytes. Each of exclude is the
// dotted path of a field, from this value, that is left out; lists on the way stand for each of their elements.
func (v *Value) Canonical(exclude ...string) []byte {
	return v.appendCanonical(make([]byte, 0, len(v.Raw())), exclude)
}

func (v *Value) appendCanonical(b []byte, exclude []string) []byte {
	switch v.Kind() {
	case Bool, Number:
		return append(b, v.text...)
	case String:
		return appendQuoted(b, v.text)
	case List:
		b = append(b, '[')
		for i := range v.kids {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.kids[i].Value.appendCanonical(b, exclude)
		}
		return append(b, ']')
	case Object:
		return v.appendObject(b, exclude)
	}
	return append(b, "null"...)
}

func (v *Value) appendObject(b []byte, exclude []string) []byte {
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
		b = m.Value.appendCanonical(b, below(exclude, m.Name))
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

// CanonicalOf is [Value.Canonical] of an object with the named members only.
func (v *Value) CanonicalOf(names ...string) []byte {
	only := Value{kind: Object, raw: v.Raw()}
	for _, m := range v.Members() {
		if slices.Contains(names, m.Name) {
			only.kids = append(only.kids, m)
		}
	}
	return only.Canonical()
}
