package gcpfirestore

import (
	"maps"
	"slices"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/proto"

	"github.com/usherhq/usher/internal/store"
)

// decodeFields returns a document's or map's fields by name: protobuf keeps no order.
func decodeFields(m map[string]*firestorepb.Value) store.Fields {
	names := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(names)
	f := make(store.Fields, len(names))
	for i, n := range names {
		f[i] = store.Field{Name: n, Value: decodeValue(m[n])}
	}
	return f
}

func decodeValue(v *firestorepb.Value) any {
	switch v := v.GetValueType().(type) {
	case *firestorepb.Value_BooleanValue:
		return v.BooleanValue
	case *firestorepb.Value_IntegerValue:
		return v.IntegerValue
	case *firestorepb.Value_DoubleValue:
		return v.DoubleValue
	case *firestorepb.Value_StringValue:
		return v.StringValue
	case *firestorepb.Value_BytesValue:
		return v.BytesValue
	case *firestorepb.Value_TimestampValue:
		return v.TimestampValue.AsTime()
	case *firestorepb.Value_MapValue:
		return decodeFields(v.MapValue.GetFields())
	case *firestorepb.Value_ArrayValue:
		l := make([]any, len(v.ArrayValue.GetValues()))
		for i, e := range v.ArrayValue.GetValues() {
			l[i] = decodeValue(e)
		}
		return l
	case *firestorepb.Value_ReferenceValue: // usher writes none, other tools may
		return v.ReferenceValue
	}
	return nil
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
