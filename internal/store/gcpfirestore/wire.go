package gcpfirestore

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// reader reads a message in protobuf's wire format from a text, so that texts in it need no memory of their own.
type reader struct {
	rest   string
	broken *bool // shared with the readers of messages inside

	number  protowire.Number
	kind    protowire.Type
	value   uint64 // of varint and fixed fields
	content string // of texts, bytes and messages
}

func newReader(wire string) reader { return reader{rest: wire, broken: new(bool)} }

// inner reads the field's content as a message.
func (r *reader) inner() reader { return reader{rest: r.content, broken: r.broken} }

// next reads a field; false at the end, and where the text is broken.
func (r *reader) next() bool {
	if r.rest == "" || *r.broken {
		return false
	}
	r.number, r.kind = protowire.DecodeTag(r.varint())
	switch r.kind {
	case protowire.VarintType:
		r.value = r.varint()
	case protowire.BytesType:
		r.content = r.take(r.varint())
	case protowire.Fixed64Type:
		r.value = 0
		for i, b := range []byte(r.take(8)) {
			r.value |= uint64(b) << (8 * i)
		}
	case protowire.Fixed32Type:
		r.take(4)
	default: // groups are of the past
		*r.broken = true
	}
	return !*r.broken
}

// is reports whether the field has this number and a content.
func (r *reader) is(n protowire.Number) bool { return r.number == n && r.kind == protowire.BytesType }

func (r *reader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		*r.broken = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) varint() uint64 {
	var v uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		b := r.rest[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.rest = r.rest[i+1:]
			return v
		}
	}
	*r.broken = true
	return 0
}
