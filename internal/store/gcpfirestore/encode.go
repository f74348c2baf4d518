package gcpfirestore

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/usherhq/usher/internal/store"
)

// Field numbers of google.firestore.v1; a test compares what they give with the generated types.
const (
	commitWrites = 2 // CommitRequest

	writeUpdate     = 1 // Write
	writeDelete     = 2
	writeMask       = 3
	writeCondition  = 4
	writeTransforms = 7

	documentName   = 1 // Document
	documentFields = 2

	maskPaths = 1 // DocumentMask

	conditionExists  = 1 // Precondition
	conditionVersion = 2

	transformPath      = 1 // DocumentTransform.FieldTransform
	transformIncrement = 3

	entryKey   = 1 // a map's entry
	entryValue = 2

	valueBool   = 1 // Value
	valueInt    = 2
	valueDouble = 3
	valueMap    = 6
	valueArray  = 9
	valueTime   = 10
	valueNull   = 11
	valueText   = 17
	valueBytes  = 18

	mapFields   = 1 // MapValue
	arrayValues = 1 // ArrayValue

	timeSeconds = 1 // Timestamp
	timeNanos   = 2
)

// encoder writes protobuf's wire format from back to front, so that a nested message's length is known when
// its header is written: one pass and one buffer for a whole commit, where the generated types take a map, a
// Value and a wrapper for each field.
type encoder struct {
	prefix string // of document names, with the slash
	buf    []byte
	at     int // buf[at:] is written
	path   []byte
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// newEncoder returns an encoder for about size bytes; give it back with release.
func newEncoder(prefix string, size int) *encoder {
	e := encoders.Get().(*encoder)
	e.prefix = prefix
	if size > len(e.buf) {
		e.buf = make([]byte, size)
	}
	e.at = len(e.buf)
	return e
}

func (e *encoder) release() { encoders.Put(e) }

func (e *encoder) bytes() []byte { return e.buf[e.at:] }

// room makes room for n more bytes in front.
func (e *encoder) room(n int) {
	if e.at >= n {
		return
	}
	used := e.buf[e.at:]
	grown := make([]byte, 2*len(e.buf)+n)
	e.at = len(grown) - len(used)
	copy(grown[e.at:], used)
	e.buf = grown
}

func (e *encoder) varint(v uint64) {
	n := protowire.SizeVarint(v)
	e.room(n)
	e.at -= n
	binary.PutUvarint(e.buf[e.at:], v)
}

func (e *encoder) tag(n protowire.Number, t protowire.Type) { e.varint(protowire.EncodeTag(n, t)) }

func (e *encoder) number(n protowire.Number, v uint64) {
	e.varint(v)
	e.tag(n, protowire.VarintType)
}

func (e *encoder) raw(s string) {
	e.room(len(s))
	e.at -= len(s)
	copy(e.buf[e.at:], s)
}

func (e *encoder) text(n protowire.Number, s string) {
	end := e.len()
	e.raw(s)
	e.wrap(n, end)
}

func (e *encoder) binary(n protowire.Number, b []byte) {
	end := e.len()
	e.room(len(b))
	e.at -= len(b)
	copy(e.buf[e.at:], b)
	e.wrap(n, end)
}

func (e *encoder) len() int { return len(e.buf) - e.at }

// wrap makes what was written since len returned end the content of field n.
func (e *encoder) wrap(n protowire.Number, end int) {
	e.varint(uint64(e.len() - end))
	e.tag(n, protowire.BytesType)
}

// commit encodes the writes of a CommitRequest.
func (e *encoder) commit(writes []store.Write) {
	for i := len(writes) - 1; i >= 0; i-- {
		e.write(&writes[i])
	}
}

func (e *encoder) write(w *store.Write) {
	end := e.len()
	for i := len(w.Add) - 1; i >= 0; i-- {
		e.increment(&w.Add[i])
	}
	e.condition(w)
	if w.Delete {
		e.name(writeDelete, w.Path)
	} else {
		// Increments alone go with an empty mask: it keeps all fields and creates the document.
		if w.Merge || len(w.Fields) == 0 {
			e.mask(w.Fields)
		}
		doc := e.len()
		e.fields(documentFields, w.Fields)
		e.name(documentName, w.Path)
		e.wrap(writeUpdate, doc)
	}
	e.wrap(commitWrites, end)
}

func (e *encoder) name(n protowire.Number, p store.Path) {
	end := e.len()
	e.raw(string(p))
	e.raw(e.prefix)
	e.wrap(n, end)
}

func (e *encoder) mask(f store.Fields) {
	end := e.len()
	for i := len(f) - 1; i >= 0; i-- {
		e.path = appendSegment(e.path[:0], f[i].Name)
		e.binary(maskPaths, e.path)
	}
	e.wrap(writeMask, end)
}

func (e *encoder) condition(w *store.Write) {
	end := e.len()
	switch {
	case w.IfMissing:
		e.number(conditionExists, 0)
	case !w.IfVersion.IsZero():
		e.time(conditionVersion, time.Time(w.IfVersion))
	default:
		return
	}
	e.wrap(writeCondition, end)
}

func (e *encoder) increment(inc *store.Increment) {
	end := e.len()
	value := e.len()
	e.number(valueInt, uint64(inc.N))
	e.wrap(transformIncrement, value)
	e.path = e.path[:0]
	for i, s := range inc.Field {
		if i > 0 {
			e.path = append(e.path, '.')
		}
		e.path = appendSegment(e.path, s)
	}
	e.binary(transformPath, e.path)
	e.wrap(writeTransforms, end)
}

func (e *encoder) fields(n protowire.Number, f store.Fields) {
	for i := len(f) - 1; i >= 0; i-- {
		end := e.len()
		e.value(entryValue, f[i].Value)
		e.text(entryKey, f[i].Name)
		e.wrap(n, end)
	}
}

func (e *encoder) value(n protowire.Number, v any) {
	end := e.len()
	switch v := v.(type) {
	case nil:
		e.number(valueNull, 0)
	case bool:
		e.number(valueBool, protowire.EncodeBool(v))
	case int64:
		e.number(valueInt, uint64(v))
	case float64:
		e.room(8)
		e.at -= 8
		binary.LittleEndian.PutUint64(e.buf[e.at:], math.Float64bits(v))
		e.tag(valueDouble, protowire.Fixed64Type)
	case string:
		e.text(valueText, v)
	case []byte:
		e.binary(valueBytes, v)
	case time.Time:
		e.time(valueTime, v)
	case store.Fields:
		inner := e.len()
		e.fields(mapFields, v)
		e.wrap(valueMap, inner)
	case []any:
		inner := e.len()
		for i := len(v) - 1; i >= 0; i-- {
			e.value(arrayValues, v[i])
		}
		e.wrap(valueArray, inner)
	}
	e.wrap(n, end)
}

// time encodes a Timestamp, cut to the microseconds that Firestore keeps.
func (e *encoder) time(n protowire.Number, t time.Time) {
	end := e.len()
	if ns := t.Nanosecond() / 1000 * 1000; ns != 0 {
		e.number(timeNanos, uint64(ns))
	}
	if sec := t.Unix(); sec != 0 {
		e.number(timeSeconds, uint64(sec))
	}
	e.wrap(n, end)
}
