package gcpfirestore

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/usherhq/usher/internal/store"
)

const testPrefix = "projects/p/databases/d/documents/"

// generated converts writes by the generated types: what the encoder is compared with.
func generated(writes []store.Write) *firestorepb.CommitRequest {
	req := &firestorepb.CommitRequest{Database: "projects/p/databases/d"}
	for i := range writes {
		req.Writes = append(req.Writes, generatedWrite(&writes[i]))
	}
	return req
}

func generatedWrite(w *store.Write) *firestorepb.Write {
	name := testPrefix + string(w.Path)
	p := &firestorepb.Write{}
	switch {
	case w.IfMissing:
		p.CurrentDocument = &firestorepb.Precondition{ConditionType: &firestorepb.Precondition_Exists{Exists: false}}
	case !w.IfVersion.IsZero():
		p.CurrentDocument = &firestorepb.Precondition{ConditionType: &firestorepb.Precondition_UpdateTime{
			UpdateTime: timestamppb.New(time.Time(w.IfVersion)),
		}}
	}
	if w.Delete {
		p.Operation = &firestorepb.Write_Delete{Delete: name}
		return p
	}
	p.Operation = &firestorepb.Write_Update{Update: &firestorepb.Document{Name: name, Fields: generatedFields(w.Fields)}}
	if w.Merge || len(w.Fields) == 0 {
		p.UpdateMask = &firestorepb.DocumentMask{}
		for _, f := range w.Fields {
			p.UpdateMask.FieldPaths = append(p.UpdateMask.FieldPaths, string(appendSegment(nil, f.Name)))
		}
	}
	for _, a := range w.Add {
		var path []string
		for _, s := range a.Field {
			path = append(path, string(appendSegment(nil, s)))
		}
		p.UpdateTransforms = append(p.UpdateTransforms, &firestorepb.DocumentTransform_FieldTransform{
			FieldPath:     strings.Join(path, "."),
			TransformType: &firestorepb.DocumentTransform_FieldTransform_Increment{Increment: generatedValue(a.N)},
		})
	}
	return p
}

func generatedFields(f store.Fields) map[string]*firestorepb.Value {
	m := make(map[string]*firestorepb.Value, len(f))
	for i := range f {
		m[f[i].Name] = generatedValue(f[i].Value)
	}
	return m
}

func generatedValue(v any) *firestorepb.Value {
	switch v := v.(type) {
	case bool:
		return &firestorepb.Value{ValueType: &firestorepb.Value_BooleanValue{BooleanValue: v}}
	case int64:
		return &firestorepb.Value{ValueType: &firestorepb.Value_IntegerValue{IntegerValue: v}}
	case float64:
		return &firestorepb.Value{ValueType: &firestorepb.Value_DoubleValue{DoubleValue: v}}
	case string:
		return &firestorepb.Value{ValueType: &firestorepb.Value_StringValue{StringValue: v}}
	case []byte:
		return &firestorepb.Value{ValueType: &firestorepb.Value_BytesValue{BytesValue: v}}
	case time.Time:
		return &firestorepb.Value{ValueType: &firestorepb.Value_TimestampValue{TimestampValue: timestamppb.New(v.Truncate(time.Microsecond))}}
	case store.Fields:
		return &firestorepb.Value{ValueType: &firestorepb.Value_MapValue{MapValue: &firestorepb.MapValue{Fields: generatedFields(v)}}}
	case []any:
		l := &firestorepb.ArrayValue{}
		for _, e := range v {
			l.Values = append(l.Values, generatedValue(e))
		}
		return &firestorepb.Value{ValueType: &firestorepb.Value_ArrayValue{ArrayValue: l}}
	}
	return &firestorepb.Value{ValueType: &firestorepb.Value_NullValue{}}
}

// encoded returns the request as Commit sends it.
func encoded(writes []store.Write, size int) *firestorepb.CommitRequest {
	e := &encoder{prefix: testPrefix, buf: make([]byte, size), at: size}
	e.commit(writes)
	req := &firestorepb.CommitRequest{Database: "projects/p/databases/d"}
	req.ProtoReflect().SetUnknown(e.bytes())
	return req
}

func everyWrite() []store.Write {
	at := time.Date(2026, 11, 22, 1, 2, 3, 123456789, time.UTC)
	every := store.Fields{
		{Name: "null", Value: nil},
		{Name: "true", Value: true},
		{Name: "false", Value: false},
		{Name: "zero", Value: int64(0)},
		{Name: "negative", Value: int64(-1)},
		{Name: "min", Value: int64(math.MinInt64)},
		{Name: "double", Value: -1.5},
		{Name: "zero double", Value: 0.0},
		{Name: "text", Value: strings.Repeat("İ", 200)},
		{Name: "empty", Value: ""},
		{Name: "bytes", Value: []byte{0, 255}},
		{Name: "no bytes", Value: []byte{}},
		{Name: "time", Value: at},
		{Name: "old", Value: time.Date(1, 1, 1, 0, 0, 0, 1999, time.UTC)},
		{Name: "epoch", Value: time.Unix(0, 0)},
		{Name: "map", Value: store.Fields{{Name: "a.b", Value: store.Fields{{Name: "c", Value: []any{at, nil}}}}}},
		{Name: "no map", Value: store.Fields{}},
		{Name: "list", Value: []any{"a", int64(300), store.Fields{{Name: "x", Value: "y"}}}},
		{Name: "no list", Value: []any{}},
	}
	adds := []store.Increment{{Field: []string{"n"}, N: 1}, {Field: []string{"a.b", "é`", "2026-11"}, N: -5}}
	return []store.Write{
		{Path: "t/set", Fields: every},
		{Path: "t/create", Fields: every[:1], IfMissing: true},
		{Path: "t/merge", Fields: every, Merge: true, Add: adds},
		{Path: "t/version", Fields: every[3:5], Add: adds, IfVersion: store.Version(at.Truncate(time.Microsecond))},
		{Path: "t/add", Add: adds},
		{Path: "t/delete", Delete: true},
		{Path: "t/delete_version", Delete: true, IfVersion: store.Version(time.Unix(5, 0))},
	}
}

func TestEncodeIsWhatTheGeneratedTypesGive(t *testing.T) {
	t.Parallel()
	want := generated(everyWrite())
	for _, size := range []int{0, 1, 100, 1 << 16} { // growing buffers and a large one
		b, err := proto.Marshal(encoded(everyWrite(), size))
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		got := &firestorepb.CommitRequest{}
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatalf("unmarshal: %v", err)
		}
		if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("size %d (-generated +encoded):\n%s", size, diff)
		}
		if g, w := len(b), proto.Size(want); g != w {
			t.Errorf("size %d: %d bytes, want %d", size, g, w)
		}
	}
}

func TestEncodersAreReused(t *testing.T) {
	t.Parallel()
	for range 10 {
		for _, w := range everyWrite() {
			e := newEncoder(testPrefix, 10)
			e.commit([]store.Write{w})
			got := &firestorepb.CommitRequest{Database: "projects/p/databases/d"}
			if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(e.bytes(), got); err != nil {
				t.Fatalf("unmarshal: %v", err)
			}
			e.release()
			if diff := gocmp.Diff(generated([]store.Write{w}), got, protocmp.Transform()); diff != "" {
				t.Errorf("(-generated +encoded):\n%s", diff)
			}
		}
	}
}

func TestFieldPathSegment(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "_a9": "_a9", "A_": "A_",
		"9a": "`9a`", "2026-11": "`2026-11`", "a.b": "`a.b`", "é": "`é`", " ": "` `", "": "``",
		"é`": "`é\\``", `\`: "`\\\\`", "a\\`b": "`a\\\\\\`b`",
	} {
		if got := string(appendSegment(nil, in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// document is a record of 40 fields and 1.6 KB.
func document() store.Fields {
	var f store.Fields
	for i := range 40 {
		name := fmt.Sprintf("field_%02d", i)
		switch i % 10 {
		case 0:
			f = append(f, store.Field{Name: name, Value: int64(i) * 1e9})
		case 1:
			f = append(f, store.Field{Name: name, Value: time.Unix(int64(i)*1e7, 0).UTC()})
		case 2:
			f = append(f, store.Field{Name: name, Value: i%20 == 2})
		default:
			f = append(f, store.Field{Name: name, Value: strings.Repeat("v", 31)})
		}
	}
	return f
}

// The benchmarks convert and marshal a commit of 100 documents, which is all that happens before gRPC's frame.
func benchmarkConvert(b *testing.B, convert func(writes []store.Write) *firestorepb.CommitRequest) {
	var writes []store.Write
	for i := range 100 {
		writes = append(writes, store.Write{Path: store.Path(fmt.Sprintf("t/doc%d", i)), Fields: document(), IfMissing: true})
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], convert(writes)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/doc")
}

func BenchmarkConvertEncoder(b *testing.B) {
	benchmarkConvert(b, func(writes []store.Write) *firestorepb.CommitRequest {
		e := newEncoder(testPrefix, 300<<10)
		e.commit(writes)
		req := &firestorepb.CommitRequest{Database: "projects/p/databases/d"}
		req.ProtoReflect().SetUnknown(append([]byte(nil), e.bytes()...)) // the loop marshals after release
		e.release()
		return req
	})
}

func BenchmarkConvertGenerated(b *testing.B) { benchmarkConvert(b, generated) }
