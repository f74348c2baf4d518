package gcpfirestore

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/usherhq/usher/internal/store"
)

var testClient = &Client{prefix: testPrefix}

// marshal returns a document as Firestore sends it.
func marshal(tb testing.TB, f store.Fields, version time.Time) string {
	tb.Helper()
	b, err := proto.Marshal(&firestorepb.Document{
		Name: testPrefix + "t/a", Fields: generatedFields(f), CreateTime: timestamppb.Now(), UpdateTime: timestamppb.New(version),
	})
	if err != nil {
		tb.Fatalf("marshal: %v", err)
	}
	return string(b)
}

func TestDecodeWhatTheGeneratedTypesGive(t *testing.T) {
	t.Parallel()
	version := time.Date(2026, 11, 22, 1, 2, 3, 123456000, time.UTC)
	want := store.Doc{Path: "t/a", Exists: true, Version: store.Version(version), Fields: slices.Clone(everyWrite()[0].Fields)}
	byName(want.Fields)
	for i, f := range want.Fields {
		if at, ok := f.Value.(time.Time); ok {
			want.Fields[i].Value = at.Truncate(time.Microsecond).UTC()
		}
	}
	r := newReader(marshal(t, want.Fields, version))
	got := testClient.decodeDocument(r)
	if *r.broken {
		t.Error("broken")
	}
	compare := gocmp.Options{
		cmpopts.EquateApproxTime(time.Microsecond), // times within lists
		gocmp.Comparer(func(a, b store.Version) bool { return time.Time(a).Equal(time.Time(b)) }),
	}
	if diff := gocmp.Diff(want, got, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		value *firestorepb.Value
		want  any
	}{
		"reference": {&firestorepb.Value{ValueType: &firestorepb.Value_ReferenceValue{ReferenceValue: "x"}}, "x"},
		"geo point": {&firestorepb.Value{ValueType: &firestorepb.Value_GeoPointValue{}}, nil},
		"nothing":   {&firestorepb.Value{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := proto.Marshal(test.value)
			if err != nil {
				t.Fatalf("marshal: %v", err)
			}
			if got := decodeValue(newReader(string(b))); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestDecodeBrokenAnswers(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"cut tag":        "\x80",
		"endless tag":    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"cut number":     "\x08\x80",
		"cut text":       "\x0a\x05abc",
		"cut double":     "\x19abc",
		"cut 32 bits":    "\x1dab",
		"group":          "\x0b",
		"cut inside":     "\x12\x02\x0a\x05",
		"cut in a value": "\x12\x04\x12\x02\x8a\x01",
		"cut in a time":  "\x22\x02\x08\x80",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(wire)
			testClient.decodeDocument(r)
			if !*r.broken {
				t.Error("taken for a document")
			}
		})
	}
}

// stream gives one answer and an error behind it.
type stream struct {
	grpc.ClientStream
	wire string
	end  error
}

func (s *stream) RecvMsg(m any) error {
	if s.wire == "" {
		return s.end
	}
	err := newAnswers().Unmarshal(mem.BufferSlice{mem.SliceBuffer(s.wire[:1]), mem.SliceBuffer(s.wire[1:])}, m)
	s.wire = ""
	return err
}

func TestEachAnswer(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut")
	for name, test := range map[string]struct {
		stream stream
		want   error
	}{
		"ends":      {stream{wire: "\x0a\x01x", end: io.EOF}, nil},
		"is cut":    {stream{wire: "\x0a\x01x", end: cut}, cut},
		"is broken": {stream{wire: "\x0a\x05x", end: io.EOF}, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			err := each(&test.stream, func(r reader) {
				for r.next() {
					got += r.content
				}
			})
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if !errors.Is(test.want, errBroken) && got != "x" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// FuzzDecode compares with the generated types: what these read is read, and no input does harm.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(marshal(f, everyWrite()[0].Fields, time.Unix(1, 0))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newReader(string(b))
		d := testClient.decodeDocument(r)
		var want firestorepb.Document
		if proto.Unmarshal(b, &want) != nil {
			return
		}
		if *r.broken {
			t.Skip("it has groups")
		}
		for _, e := range d.Fields {
			if _, ok := want.GetFields()[e.Name]; !ok {
				t.Errorf("a field that is not there")
			}
		}
		for name := range want.GetFields() {
			if !slices.ContainsFunc(d.Fields, func(e store.Field) bool { return e.Name == name }) {
				t.Errorf("a field is missing")
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	wire := marshal(b, document(), time.Unix(1, 0))
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		testClient.decodeDocument(newReader(wire))
	}
}

func BenchmarkDecodeGenerated(b *testing.B) {
	wire := []byte(marshal(b, document(), time.Unix(1, 0)))
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		var d firestorepb.Document
		if err := proto.Unmarshal(wire, &d); err != nil {
			b.Fatal(err)
		}
	}
}
