package gcpfirestore

import (
	"math"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/usherhq/usher/internal/store"
)

// More field numbers of google.firestore.v1.
const (
	answerFound   = 1 // BatchGetDocumentsResponse
	answerMissing = 2

	answerDocument = 1 // RunQueryResponse

	documentVersion = 4 // Document: update_time

	valueReference = 5 // Value
)

// decodeDocument reads a Document.
func (c *Client) decodeDocument(r reader) store.Doc {
	d := store.Doc{Exists: true, Fields: store.Fields{}}
	for r.next() {
		switch {
		case r.is(documentName):
			d.Path = c.path(r.content)
		case r.is(documentFields):
			d.Fields = append(d.Fields, decodeEntry(r.inner()))
		case r.is(documentVersion):
			d.Version = store.Version(decodeTime(r.inner()))
		}
	}
	byName(d.Fields)
	return d
}

// byName orders fields: protobuf's maps have no order.
func byName(f store.Fields) {
	compare := func(a, b store.Field) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(f, compare) {
		slices.SortFunc(f, compare)
	}
}

// decodeEntry reads an entry of a map of fields.
func decodeEntry(r reader) (f store.Field) {
	for r.next() {
		switch {
		case r.is(entryKey):
			f.Name = r.content
		case r.is(entryValue):
			f.Value = decodeValue(r.inner())
		}
	}
	return f
}

// decodeValue reads a Value; what this package does not know is null.
func decodeValue(r reader) (v any) {
	for r.next() {
		switch {
		case r.kind == protowire.BytesType:
			v = decodeContent(&r)
		case r.number == valueBool:
			v = protowire.DecodeBool(r.value)
		case r.number == valueInt:
			v = int64(r.value)
		case r.number == valueDouble:
			v = math.Float64frombits(r.value)
		}
	}
	return v
}

func decodeContent(r *reader) any {
	switch r.number {
	case valueText, valueReference: // usher writes no references, other tools may
		return r.content
	case valueBytes:
		return []byte(r.content)
	case valueTime:
		return decodeTime(r.inner())
	case valueMap:
		f := store.Fields{}
		for m := r.inner(); m.next(); {
			if m.is(mapFields) {
				f = append(f, decodeEntry(m.inner()))
			}
		}
		byName(f)
		return f
	case valueArray:
		l := []any{}
		for a := r.inner(); a.next(); {
			if a.is(arrayValues) {
				l = append(l, decodeValue(a.inner()))
			}
		}
		return l
	}
	return nil
}

func decodeTime(r reader) time.Time {
	var sec, nanos int64
	for r.next() {
		switch r.number {
		case timeSeconds:
			sec = int64(r.value)
		case timeNanos:
			nanos = int64(r.value)
		}
	}
	return time.Unix(sec, nanos).UTC()
}

// protoValue returns the generated type of a value, for queries.
func protoValue(prefix string, v any) (*firestorepb.Value, error) {
	e := newEncoder(prefix, 64)
	defer e.release()
	e.value(valueOnly, v)
	var l firestorepb.ArrayValue
	if err := proto.Unmarshal(e.bytes(), &l); err != nil {
		return nil, err
	}
	return l.GetValues()[0], nil
}

// valueOnly wraps a lone value as an ArrayValue of one.
const valueOnly = arrayValues
