// Package jsontree reads JSON from strangers into a tree that never fails on an odd type: numbers stay text,
// duplicate names and invalid UTF-8 are refused, depth and size are bounded.
package jsontree

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a document.
const (
	// MaxDepth is how deep arrays and objects may nest; vendors stay under 10.
	MaxDepth = 64
	// MaxValues bounds the memory of a tree: a 4 MiB journey of page views has about 250,000 values.
	MaxValues = 1 << 19
)

// Errors of [Parse]. None of them quotes the input.
var (
	ErrSyntax = errors.New("not one valid JSON value")
	ErrDepth  = errors.New("json nests too deep")
	ErrValues = errors.New("json has too many values")
)

// Kind is the type of a value.
type Kind uint8

// The kinds of value.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
)

// Value is one JSON value; it is immutable. All methods accept nil, which stands for a missing value.
type Value struct {
	kind Kind
	text string // of a string, decoded; of a number or bool, as sent
	kids []Member
	raw  []byte // of a list or object, as sent
}

// Member is a named value of an object, or an element of a list, whose Name is "".
type Member struct {
	Name  string
	Value Value
}

// Parse reads exactly one JSON value. Trailing data, duplicate names, invalid UTF-8 and unpaired surrogates
// are [ErrSyntax]; [ErrDepth] and [ErrValues] say which bound was met. The tree refers to body, which must not
// change afterwards.
func Parse(body []byte) (*Value, error) {
	p := parser{dec: jsontext.NewDecoder(bytes.NewBuffer(body)), body: body, text: string(body), left: MaxValues}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, ErrSyntax
	}
	return &v, nil
}

type parser struct {
	dec  *jsontext.Decoder
	body []byte
	text string // body once more: strings without escapes are cut from it, not copied one by one
	left int
	open []Member // the members read so far of the values that are not complete, outermost first
}

func (p *parser) value(depth int) (Value, error) {
	if p.left--; p.left < 0 {
		return Value{}, ErrValues
	}
	switch kind := p.dec.PeekKind(); kind {
	case '{', '[':
		if depth == MaxDepth {
			return Value{}, ErrDepth
		}
		return p.composite(kind, depth+1)
	case '"':
		s, err := p.str()
		return Value{kind: String, text: s}, err
	case '0', 't', 'f', 'n':
		raw, err := p.dec.ReadValue()
		if err != nil {
			return Value{}, ErrSyntax
		}
		v := Value{kind: Bool, text: p.last(len(raw))}
		switch kind {
		case '0':
			v.kind = Number
		case 'n':
			return Value{}, nil
		}
		return v, nil
	}
	return Value{}, ErrSyntax
}

func (p *parser) composite(open jsontext.Kind, depth int) (Value, error) {
	if _, err := p.dec.ReadToken(); err != nil {
		return Value{}, ErrSyntax
	}
	start, first := p.dec.InputOffset()-1, len(p.open)
	v := Value{kind: List}
	end := jsontext.Kind(']')
	if open == '{' {
		v.kind, end = Object, '}'
	}
	for p.dec.PeekKind() != end {
		var m Member
		var err error
		if v.kind == Object {
			if m.Name, err = p.str(); err != nil {
				return Value{}, err
			}
		}
		if m.Value, err = p.value(depth); err != nil {
			return Value{}, err
		}
		p.open = append(p.open, m)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return Value{}, ErrSyntax
	}
	v.kids = slices.Clone(p.open[first:])
	p.open = p.open[:first]
	v.raw = p.body[start:p.dec.InputOffset()]
	return v, nil
}

// str reads a string or a name.
func (p *parser) str() (string, error) {
	raw, err := p.dec.ReadValue()
	if err != nil || raw.Kind() != '"' {
		return "", ErrSyntax
	}
	s := p.last(len(raw))
	if strings.IndexByte(s, '\\') < 0 {
		return s[1 : len(s)-1], nil
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "", ErrSyntax
	}
	return string(b), nil
}

// last is the text of the value just read, n bytes long.
func (p *parser) last(n int) string {
	end := int(p.dec.InputOffset())
	return p.text[end-n : end]
}
