package fields_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/fields"
	"github.com/usherhq/usher/internal/store"
)

// fill sets every field of v, at random, to a value that its message can have.
func fill(t *rapid.T, v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.ValueOf(time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time")).UTC()))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.Just(""), rapid.String()).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "len"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i))
			}
		}
	case reflect.Map:
		fillMap(t, v)
	default:
		t.Fatalf("no rule for %s", v.Type())
	}
}

func fillMap(t *rapid.T, v reflect.Value) {
	switch m := v.Addr().Interface().(type) {
	case *map[string]any:
		*m = rapid.MapOfN(rapid.String(), jsonValue(3), 0, 4).Draw(t, "free")
	case *map[string]int64:
		*m = rapid.MapOfN(rapid.StringMatching("[a-z][a-z0-9_]{0,8}"), rapid.Int64(), 0, 4).Draw(t, "counts")
	default:
		t.Fatalf("no rule for %s", v.Type())
	}
}

// jsonValue is whatever encoding/json may decode into an any.
func jsonValue(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(),
		rapid.Float64Range(-1e300, 1e300).AsAny(),
	)
	if depth == 0 {
		return scalar
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return jsonValue(depth - 1) })
	return rapid.OneOf(scalar, rapid.SliceOfN(inner, 0, 3).AsAny(), rapid.MapOfN(rapid.String(), inner, 0, 3).AsAny())
}

func roundTrip[T any](t *testing.T, depth int) {
	t.Helper()
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var in, out T
		fill(t, reflect.ValueOf(&in).Elem())
		f := fields.Encode(&in)
		doc := f
		for range depth {
			doc = store.Fields{{Name: "in", Value: doc}}
		}
		if len(doc) > 0 {
			if _, err := store.CheckWrite(&store.Write{Path: "c/d", Fields: doc}); err != nil {
				t.Fatalf("the store cannot hold it: %v", err)
			}
		}
		fields.Decode(f, &out)
		if d := cmp.Diff(in, out); d != "" {
			t.Fatalf("round trip (-in +out):\n%s", d)
		}
	})
}

func TestEventRoundTrip(t *testing.T)   { roundTrip[visitor.Event](t, 1) } // an event is a map in its record
func TestProfileRoundTrip(t *testing.T) { roundTrip[visitor.Profile](t, 0) }

func TestZeroValuesAreLeftOut(t *testing.T) {
	t.Parallel()
	if f := fields.Encode(&visitor.Event{}); len(f) != 0 {
		t.Errorf("empty event: %v", f)
	}
	no := false
	f := fields.Encode(&visitor.Consent{Given: &no})
	if d := cmp.Diff(store.Fields{{Name: "given", Value: false}}, f); d != "" {
		t.Errorf("a set pointer to a zero value is kept (-want +got):\n%s", d)
	}
}

func TestFreeMaps(t *testing.T) {
	t.Parallel()
	deep := map[string]any{}
	for range store.MaxDepth {
		deep = map[string]any{"in": deep}
	}
	tests := []struct {
		name string
		in   map[string]any
		text bool // kept as JSON text
	}{
		{"nothing", map[string]any{}, false},
		{"scalars", map[string]any{"a": nil, "b": true, "c": "x", "d": 1.5}, false},
		{"dots and spaces in names", map[string]any{"a.b c`": "x"}, false},
		{"objects in an array", map[string]any{"a": []any{map[string]any{"b": 1.0}, "c"}}, false},
		{"array in array", map[string]any{"a": []any{[]any{1.0}}}, true},
		{"array in array, further in", map[string]any{"a": map[string]any{"b": []any{[]any{}}}}, true},
		{"empty name", map[string]any{"": 1.0}, true},
		{"reserved name", map[string]any{"a": map[string]any{"__b__": 1.0}}, true},
		{"long name", map[string]any{strings.Repeat("n", store.MaxSegment+1): 1.0}, true},
		{"too deep", deep, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := visitor.Attribution{CustomAttributes: tt.in}
			f := fields.Encode(&in)
			if _, text := f.Get("custom_attributes").(string); text != tt.text {
				t.Errorf("kept as text = %v, want %v", text, tt.text)
			}
			var out visitor.Attribution
			fields.Decode(f, &out)
			if d := cmp.Diff(in, out); d != "" {
				t.Errorf("round trip (-in +out):\n%s", d)
			}
		})
	}
}

func TestFreeMapsOfGoValues(t *testing.T) {
	t.Parallel()
	f := fields.Encode(&visitor.Attribution{CustomAttributes: map[string]any{"n": 7, "m": int64(8)}})
	want := store.Fields{{Name: "m", Value: int64(8)}, {Name: "n", Value: int64(7)}}
	if d := cmp.Diff(want, f.Map("custom_attributes")); d != "" {
		t.Errorf("whole numbers (-want +got):\n%s", d)
	}
	f = fields.Encode(&visitor.Attribution{CustomAttributes: map[string]any{"bad": math.Inf(1), "c": make(chan int)}})
	if f.Get("custom_attributes") != nil {
		t.Errorf("what is not JSON was kept: %v", f)
	}
}

func TestDecodePassesOverWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	odd := store.Fields{{Name: "x", Value: "y"}}
	var all store.Fields
	for _, name := range []string{
		"id", "events", "first_seen", "identifiers", "scores", "person", "visits", "later_field", "sources", "consent",
	} {
		for _, v := range []any{nil, true, "text", 1.5, []byte{1}, time.Unix(1, 0), []any{nil, 1.5, odd}, odd} {
			all = append(all, store.Field{Name: name, Value: v})
		}
	}
	for _, f := range all {
		kept := visitor.Profile{
			ID: "vis_a", Events: 2, Identifiers: []string{"i"}, Sources: []string{"s"},
			Scores: map[string]int64{"n": 1}, FirstSeen: time.Unix(9, 0),
		}
		fields.Decode(store.Fields{f, {Name: "tenant_id", Value: "t1"}}, &kept)
		if kept.TenantID != "t1" {
			t.Errorf("after %s = %T: the next field was not read", f.Name, f.Value)
		}
		if f.Name == "identifiers" {
			if _, list := f.Value.([]any); !list && len(kept.Identifiers) != 1 {
				t.Errorf("%s = %T replaced the list", f.Name, f.Value)
			}
		}
		if f.Name == "scores" && reflect.TypeOf(f.Value) != reflect.TypeFor[store.Fields]() && kept.Scores["n"] != 1 {
			t.Errorf("%s = %T replaced the counts", f.Name, f.Value)
		}
	}
}

func TestDecodeOddValues(t *testing.T) {
	t.Parallel()
	var ev visitor.Event
	fields.Decode(store.Fields{
		{Name: "visit", Value: store.Fields{
			{Name: "duration_seconds", Value: int64(3)}, // Firestore may give a whole number
			{Name: "pages", Value: []any{nil, store.Fields{{Name: "url", Value: "u"}}}},
		}},
		{Name: "attribution", Value: store.Fields{
			{Name: "custom_attributes", Value: "{not json"},
			{Name: "extra_options", Value: int64(1)},
		}},
		{Name: "session", Value: store.Fields{{Name: "network", Value: store.Fields{{Name: "bot_score", Value: int64(2)}}}}},
	}, &ev)
	two := 2.0
	want := visitor.Event{
		Visit:   visitor.Visit{DurationSeconds: 3, Pages: []visitor.Page{{}, {URL: "u"}}},
		Session: visitor.Session{Network: visitor.Network{BotScore: &two}},
	}
	if d := cmp.Diff(want, ev); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
}

func TestUnsupportedTypePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "unsupported type") {
			t.Errorf("recovered %v", r)
		}
	}()
	fields.Encode(&struct {
		C chan int `json:"c"`
	}{})
}

func TestUntaggedFieldsAreNotStored(t *testing.T) {
	t.Parallel()
	in := struct {
		A string `json:"a"`
		B string `json:"-"`
		C chan int
	}{"a", "b", nil}
	if d := cmp.Diff(store.Fields{{Name: "a", Value: "a"}}, fields.Encode(&in)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestMapAndFromMap(t *testing.T) {
	t.Parallel()
	in := map[string]any{"a": "x", "b": map[string]any{"c": []any{int64(1), map[string]any{"d": true}}}}
	f, err := fields.FromMap(in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, fields.Map(f)); d != "" {
		t.Errorf("round trip (-want +got):\n%s", d)
	}
	for _, bad := range []any{[]any{[]any{}}, map[string]any{"": 1}, make(chan int)} {
		if _, err := fields.FromMap(map[string]any{"bad": bad}); err == nil || !strings.Contains(err.Error(), "cannot be stored") {
			t.Errorf("FromMap(%T): %v", bad, err)
		}
	}
}

// sample is an event as vendors send it.
func sample() *visitor.Event {
	yes, at := true, time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)
	return &visitor.Event{
		Schema: visitor.Schema, ID: "evt_a", Type: visitor.TypeVisitorIdentified, Stage: visitor.StageEnriched,
		TenantID: "t1", VisitorID: "vis_a", Source: "midbound", Origin: visitor.OriginWebhook, IdentifiedAt: at,
		Receipt: visitor.Receipt{ReceivedAt: at, Endpoint: "main"},
		Person: visitor.Person{
			FirstName: "Ada", LastName: "Example", Title: "Engineer", LinkedInURL: "https://www.linkedin.com/in/ada-example",
			Emails:   []visitor.Email{{Address: "ada@example.com", Kind: visitor.EmailProfessional}},
			Phones:   []visitor.Phone{{Number: "+15550100", Kind: "work"}},
			Location: visitor.Location{City: "Exampleton", CountryCode: "GB"},
		},
		Company:     visitor.Company{Name: "Example Ltd", Domain: "example.com", Industry: "Software"},
		Visit:       visitor.Visit{PageURL: "https://example.com/a", Pages: make([]visitor.Page, 10), PagesViewed: 10, IsReturn: &yes},
		Session:     visitor.Session{ID: "s1", Host: "example.com", StartedAt: at, Network: visitor.Network{IP: "192.0.2.1"}},
		Attribution: visitor.Attribution{PageID: "p1", CustomAttributes: map[string]any{"plan": "pro", "seats": 5.0}},
	}
}

func BenchmarkEncode(b *testing.B) {
	ev := sample()
	b.ReportAllocs()
	for b.Loop() {
		fields.Encode(ev)
	}
}

func BenchmarkDecode(b *testing.B) {
	f := fields.Encode(sample())
	b.ReportAllocs()
	for b.Loop() {
		var ev visitor.Event
		fields.Decode(f, &ev)
	}
}
