package visitor_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/consumer/visitor"
)

var received = time.Date(2026, 2, 3, 10, 11, 12, 345000000, time.UTC)

// minimal returns an event with the required fields only.
func minimal() *visitor.Event {
	return &visitor.Event{
		Schema:       visitor.Schema,
		ID:           visitor.NewEventID("midbound", "acme", "evt_1", 0),
		Type:         visitor.TypeVisitorIdentified,
		TenantID:     "acme",
		Source:       "midbound",
		Origin:       visitor.OriginWebhook,
		IdentifiedAt: received.Add(-time.Minute),
		Receipt:      visitor.Receipt{ReceivedAt: received},
	}
}

// typical returns an event as an enriching vendor gives it, about 1.8 KB of JSON.
func typical() *visitor.Event {
	yes := true
	e := minimal()
	e.Stage = visitor.StageEnriched
	e.SourceEventID = "evt_01KH5FW03RQB28JZ4F9D2ZC8ME"
	e.Person = visitor.Person{
		FirstName: "Ada", LastName: "Example", FullName: "Ada Example", Title: "Co-Founder & CTO", Seniority: "c_suite",
		Emails: []visitor.Email{
			{Address: "ada@acme.example", Kind: visitor.EmailProfessional, Validity: "valid"},
			{Address: "ada.l@example.net", Kind: visitor.EmailPersonal},
		},
		Phones:       []visitor.Phone{{Number: "+15550100", Kind: "work"}},
		LinkedInURL:  "https://linkedin.com/in/ada-example",
		Demographics: visitor.Demographics{IsMarried: &yes, AgeMin: 35, AgeMax: 44},
		Location:     visitor.Location{City: "Lisbon", Country: "Portugal", CountryCode: "PT"},
	}
	e.Company = visitor.Company{Name: "Acme", Domain: "acme.example", Industry: "Software", EmployeeCount: "51-200"}
	e.Visit = visitor.Visit{
		PageURL: "https://www.example.com/pricing", Referrer: "https://www.example.org/", PagesViewed: 2, DurationSeconds: 95.5,
		Pages: []visitor.Page{
			{URL: "https://www.example.com/", Title: "Example Inc", At: received.Add(-2 * time.Minute)},
			{URL: "https://www.example.com/pricing", Title: "Pricing | Example Inc", At: received.Add(-time.Minute)},
		},
	}
	e.Session = visitor.Session{
		ID: "01KH5FW03R8XCZQ7PCYNV4ND1H", VendorVisitor: "01KH5FW03RXBE3EZGHKW8V1J7M", Host: "www.example.com",
		StartedAt: received.Add(-2 * time.Minute), Network: visitor.Network{IP: "192.0.2.7", CountryCode: "PT", ASN: 64496},
	}
	e.Attribution = visitor.Attribution{
		PageID: "pricing", CampaignID: "q1", PixelID: "mdb_pxl_01KGR7E2S9JK6813H42SCG3QLP",
		UTM:              visitor.UTM{Source: "newsletter", Medium: "email", Campaign: "q1_brand"},
		CustomAttributes: map[string]any{"plan": "pro", "seats": 12.0},
	}
	e.VisitorID = e.Visitor()
	return e
}

func TestEncode_required(t *testing.T) {
	t.Parallel()

	tests := []struct {
		name    string
		change  func(*visitor.Event)
		wantErr string
	}{
		{"schema", func(e *visitor.Event) { e.Schema = "1.99" }, "schema: want " + visitor.Schema},
		{"type", func(e *visitor.Event) { e.Type = "" }, "type: want visitor_identified"},
		{"id", func(e *visitor.Event) { e.ID = "x" }, "id: want evt_"},
		{"tenant", func(e *visitor.Event) { e.TenantID = "" }, "tenant id: want"},
		{"source", func(e *visitor.Event) { e.Source = "" }, "source: missing"},
		{"origin", func(e *visitor.Event) { e.Origin = "" }, "origin: missing"},
		{"identified_at", func(e *visitor.Event) { e.IdentifiedAt = time.Time{} }, "identified_at: missing"},
		{"received_at", func(e *visitor.Event) { e.Receipt.ReceivedAt = time.Time{} }, "receipt.received_at: missing"},
		{
			"too many pages",
			func(e *visitor.Event) { e.Visit.Pages = make([]visitor.Page, visitor.MaxPages+1) },
			"visit.pages: too many",
		},
		{
			"not a number",
			func(e *visitor.Event) { e.Attribution.CustomAttributes = map[string]any{"n": math.NaN()} },
			"not encodable",
		},
		{
			"year with five digits",
			func(e *visitor.Event) { e.IdentifiedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
			"not encodable",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			e := minimal()
			tc.change(e)
			b, err := visitor.Encode(e)
			if !errors.Is(err, visitor.ErrMalformed) || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("Encode error = %v, want ErrMalformed with %q", err, tc.wantErr)
			}
			if b != nil {
				t.Errorf("Encode returned %d bytes beside an error", len(b))
			}
		})
	}
}

func TestEncode_allProblemsAtOnce(t *testing.T) {
	t.Parallel()

	_, err := visitor.Encode(&visitor.Event{})
	for _, want := range []string{"schema", "type", "id", "source", "origin", "identified_at", "receipt.received_at", "tenant id"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Encode of an empty event = %v, want %q in it", err, want)
		}
	}
}

func TestEncode_minimal(t *testing.T) {
	t.Parallel()

	b, err := visitor.Encode(minimal())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"schema": "1.0", "id": string(minimal().ID), "type": "visitor_identified", "tenant_id": "acme",
		"source": "midbound", "origin": "webhook", "identified_at": "2026-02-03T10:10:12.345Z",
		"receipt": map[string]any{"received_at": "2026-02-03T10:11:12.345Z"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("optional fields must be left out (-want +got):\n%s", diff)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()

	// head is all that a reader insists on; each body continues or replaces it.
	const head = `"schema":"1.0","id":"evt_a","tenant_id":"acme","source":"s","receipt":{"received_at":"2026-02-03T10:11:12Z"}`
	tests := []struct {
		name    string
		body    string
		wantErr error
	}{
		{"optional fields missing", `{` + head + `}`, nil},
		{"unknown fields", `{` + head + `,"new":1,"person":{"new":{"deep":[1]}}}`, nil},
		{"unknown enumerated values", `{` + head + `,"stage":"verified","origin":"import"}`, nil},
		{"later minor", strings.Replace(`{`+head+`}`, "1.0", "1.7", 1), nil},
		{"null optional fields", `{` + head + `,"person":null,"visit":{"pages":null}}`, nil},
		{"later major", strings.Replace(`{`+head+`}`, "1.0", "2.0", 1), visitor.ErrNewerSchema},
		{"later major, nothing else", `{"schema":"2.0"}`, visitor.ErrNewerSchema},
		{"later major, changed type", `{"schema":"2.0","person":["changed"]}`, visitor.ErrNewerSchema},
		{"later major, changed type first", `{"id":7,"schema":"10.3"}`, visitor.ErrNewerSchema},
		{"changed type in this major", `{` + head + `,"person":["changed"]}`, visitor.ErrMalformed},
		{"schema missing", strings.Replace(`{`+head+`}`, `"schema":"1.0",`, "", 1), visitor.ErrMalformed},
		{"schema zero", strings.Replace(`{`+head+`}`, "1.0", "0.9", 1), visitor.ErrMalformed},
		{"schema not a version", strings.Replace(`{`+head+`}`, "1.0", "new", 1), visitor.ErrMalformed},
		{"id missing", strings.Replace(`{`+head+`}`, `"evt_a"`, `""`, 1), visitor.ErrMalformed},
		{"source missing", strings.Replace(`{`+head+`}`, `"s"`, `""`, 1), visitor.ErrMalformed},
		{"receipt missing", `{"schema":"1.0","id":"evt_a","tenant_id":"acme","source":"s"}`, visitor.ErrMalformed},
		{"tenant missing", strings.Replace(`{`+head+`}`, `"acme"`, `""`, 1), visitor.ErrMalformed},
		{"tenant forbidden", strings.Replace(`{`+head+`}`, `"acme"`, `"a/b"`, 1), visitor.ErrMalformed},
		{"bad time", strings.Replace(`{`+head+`}`, "2026-02-03T10:11:12Z", "yesterday", 1), visitor.ErrMalformed},
		{"cut off", `{` + head, visitor.ErrMalformed},
		{"more than one value", `{` + head + `}{}`, visitor.ErrMalformed},
		{"an array", `[{` + head + `}]`, visitor.ErrMalformed},
		{"null", `null`, visitor.ErrMalformed},
		{"nothing", ``, visitor.ErrMalformed},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			e, err := visitor.Decode([]byte(tc.body))
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("Decode error = %v, want %v", err, tc.wantErr)
			}
			if tc.wantErr == nil && e.ID != "evt_a" {
				t.Errorf("Decode gave id %q, want evt_a", e.ID)
			}
			if tc.wantErr != nil && e != nil {
				t.Error("Decode returned an event beside an error")
			}
		})
	}
}

func TestDecode_neverQuotes(t *testing.T) {
	t.Parallel()

	const personal = "ada@acme.example"
	for _, body := range []string{
		personal,
		`{"schema":"` + personal + `"}`,
		`{"schema":"1.0","id":"a","source":"s","tenant_id":"` + personal + `/","receipt":{"received_at":"2026-02-03T10:11:12Z"}}`,
		`{"schema":"1.0","receipt":{"received_at":"` + personal + `"}}`,
		`{"schema":"1.0","person":{"emails":"` + personal + `"}}`,
	} {
		_, err := visitor.Decode([]byte(body))
		if err == nil {
			t.Errorf("Decode(%s) gave no error", body)
		} else if strings.Contains(err.Error(), "ada") || strings.Contains(err.Error(), "acme") {
			t.Errorf("Decode quotes its input: %v", err)
		}
	}
}

// events generates valid events with every field in play.
func events() *rapid.Generator[visitor.Event] {
	texts := rapid.StringN(0, 12, -1)
	times := rapid.Map(rapid.Int64Range(0, 1<<33), func(ms int64) time.Time { return time.UnixMilli(ms * 1000).UTC() })
	free := rapid.MapOfN(texts, rapid.OneOf(
		texts.AsAny(), rapid.Bool().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(),
		rapid.SliceOfN(texts.AsAny(), 1, 2).AsAny(),
	), 0, 3)
	return rapid.Map(rapid.MakeCustom[visitor.Event](rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time]():      times.AsAny(),
			reflect.TypeFor[map[string]any](): free.AsAny(),
			reflect.TypeFor[[]visitor.Page](): rapid.SliceOfN(rapid.Custom(func(t *rapid.T) visitor.Page {
				return visitor.Page{URL: texts.Draw(t, "url"), Title: texts.Draw(t, "title"), At: times.Draw(t, "at")}
			}), 0, 3).AsAny(),
		},
		Kinds: map[reflect.Kind]*rapid.Generator[any]{reflect.String: texts.AsAny()},
	}), func(e visitor.Event) visitor.Event {
		m := minimal()
		e.Schema, e.ID, e.Type, e.TenantID, e.Source = m.Schema, m.ID, m.Type, m.TenantID, m.Source
		e.Origin, e.IdentifiedAt, e.Receipt.ReceivedAt = m.Origin, m.IdentifiedAt, m.Receipt.ReceivedAt
		return e
	})
}

func TestCodec_roundTrip(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		e := events().Draw(t, "event")
		b, err := visitor.Encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := visitor.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&e, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	b, err := visitor.Encode(typical())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":"2.0","id":{}}`))
	f.Add([]byte(`{"schema":"1.0"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := visitor.Decode(b)
		if err != nil {
			if !errors.Is(err, visitor.ErrMalformed) && !errors.Is(err, visitor.ErrNewerSchema) {
				t.Fatalf("Decode error of no known kind: %v", err)
			}
			return
		}
		if err := e.Check(); err != nil {
			t.Fatalf("Decode gave an event that Check refuses: %v", err)
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("a decoded event cannot be encoded: %v", err)
		}
		if _, err := visitor.Decode(again); err != nil {
			t.Fatalf("a decoded event cannot be decoded again: %v", err)
		}
	})
}

func TestEvent_period(t *testing.T) {
	t.Parallel()

	e := minimal()
	e.Receipt.ReceivedAt = time.Date(2026, 3, 1, 1, 30, 0, 0, time.FixedZone("", 2*60*60)) // still February in UTC
	if got, want := e.Day(), "2026-02-28"; got != want {
		t.Errorf("Day() = %q, want %q", got, want)
	}
	if got, want := e.Month(), "2026-02"; got != want {
		t.Errorf("Month() = %q, want %q", got, want)
	}
}

func TestNewerSchema(t *testing.T) {
	t.Parallel()

	for schema, want := range map[string]bool{
		"": false, "0.1": false, "1": false, "1.0": false, "1.9": false, "x": false, "-2.0": false,
		"2": true, "2.0": true, "10.0": true,
	} {
		if got := visitor.NewerSchema(schema); got != want {
			t.Errorf("NewerSchema(%q) = %v, want %v", schema, got, want)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := typical()
	for b.Loop() {
		out, err := visitor.Encode(e)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(out)))
	}
}

func BenchmarkDecode(b *testing.B) {
	in, err := visitor.Encode(typical())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := visitor.Decode(in); err != nil {
			b.Fatal(err)
		}
	}
}
