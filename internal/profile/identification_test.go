package profile

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
)

func fullRecord() *Record {
	yes := true
	ev := at("a", day, func(ev *visitor.Event) {
		ev.Stage, ev.SourceEventID, ev.RepeatAfterSeconds, ev.SourceTime = visitor.StageEnriched, "src-1", 3600, "yesterday"
		ev.IdentifiedAt = day.Add(-time.Second)
		ev.Receipt.Endpoint = "main"
		ev.Person = visitor.Person{FirstName: "Ada", Emails: []visitor.Email{{Address: "ada@example.com"}}}
		ev.Visit.Pages = []visitor.Page{{URL: "https://example.com/", At: day}}
		ev.Attribution = visitor.Attribution{PageID: "p1", CampaignID: "c1", ExtraOptions: map[string]any{"x": 1.0}}
		ev.Consent.IsEU = &yes
	})
	return &Record{
		Event: ev, Raw: []byte{1, 2}, RawEncoding: "zstd", FirstMatch: true,
		ProcessedAt: day.Add(time.Minute), ExpireAt: day.AddDate(1, 0, 0),
	}
}

func names(f store.Fields) []string {
	var out []string
	for i := range f {
		out = append(out, f[i].Name)
	}
	slices.Sort(out)
	return out
}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	f := r.Fields()
	if _, err := store.CheckWrite(&store.Write{Path: "c/d", Fields: f}); err != nil {
		t.Fatal(err)
	}
	want := Stored{ID: "evt_final", FirstMatch: true, Period: "2026-11-03", Event: *r.Event}
	want.Event.ID, want.Event.ProcessedAt = "evt_final", r.ProcessedAt
	d := store.Doc{Path: "tenants/t1/visitor_identifications/evt_final", Exists: true, Fields: f}
	if diff := cmp.Diff(want, LoadIdentification(d)); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	if !ReceivedAt(d).Equal(day) || !f.Time("expire_at").Equal(r.ExpireAt) {
		t.Errorf("received %v, expires %v", ReceivedAt(d), f.Time("expire_at"))
	}
	if diff := cmp.Diff([]byte{1, 2}, f.Bytes("raw")); diff != "" || f.Text("raw_encoding") != "zstd" {
		t.Errorf("raw: %s, encoding %q", diff, f.Text("raw_encoding"))
	}
	if ev, err := visitor.Decode([]byte(f.Text("event"))); err != nil || ev.ID != r.Event.ID {
		t.Errorf("event is not of the published schema: %v", err)
	}
}

// TestRecordKeepsTheEventAsSent: what a newer publisher adds is stored although this build does not know it.
func TestRecordKeepsTheEventAsSent(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	r.JSON = []byte(`{"schema":"1.7","person":{"first_name":"Ada","shoe_size":38}}`)
	f := r.Fields()
	if f.Text("event") != string(r.JSON) {
		t.Errorf("event = %s", f.Text("event"))
	}
	s := LoadIdentification(store.Doc{Path: "tenants/t1/visitor_identifications/evt_final", Exists: true, Fields: f})
	if s.Event.Schema != "1.7" || s.Event.Person.FirstName != "Ada" || s.Event.TenantID != r.Event.TenantID {
		t.Errorf("loaded %+v", s.Event)
	}
}

func TestLoadDamagedIdentification(t *testing.T) {
	t.Parallel()
	f := fullRecord().Fields()
	for i := range f {
		if f[i].Name == "event" {
			f[i].Value = `{"schema":`
		}
	}
	s := LoadIdentification(store.Doc{Path: "tenants/t1/visitor_identifications/evt_final", Exists: true, Fields: f})
	if s.ID != "evt_final" || s.Event.Source != f.Text("source") || !s.Event.Receipt.ReceivedAt.Equal(day) {
		t.Errorf("loaded %+v", s)
	}
}

func TestEventThatIsNotJSON(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("stored without its event")
		}
	}()
	r := fullRecord()
	r.Event.Attribution.ExtraOptions = map[string]any{"f": func() {}}
	r.Fields()
}

func TestRecordWithoutRaw(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	r.Raw = nil
	if f := r.Fields(); f.Get("raw") != nil || f.Get("raw_encoding") != nil {
		t.Errorf("fields %v", names(f))
	}
}

func TestBareRecordHoldsNothingPersonal(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	r.Bare = true
	want := []string{"expire_at", "first_match", "period", "processed_at", "received_at", "source", "tenant_id"}
	if d := cmp.Diff(want, names(r.Fields())); d != "" {
		t.Errorf("fields (-want +got):\n%s", d)
	}
}

func TestPeriodIsTheReceiptsDayInUTC(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	r.Event.Receipt.ReceivedAt = time.Date(2026, 12, 1, 1, 30, 0, 0, time.FixedZone("UTC+2", 2*3600))
	if got := r.Fields().Text("period"); got != "2026-11-30" {
		t.Errorf("period = %s", got)
	}
}

func TestProcessor(t *testing.T) {
	t.Parallel()
	reg := processor.NewRegistry()
	if err := reg.Register(Processor{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		settings map[string]any
		want     []processor.Effect
	}{
		{"default", nil, []processor.Effect{processor.Record{}, processor.Meter{}, processor.MergeVisitor{}}},
		{"without visitors", map[string]any{"visitors": false}, []processor.Effect{processor.Record{}, processor.Meter{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := reg.Configure("profile", tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			res, err := h.Process(t.Context(), at("a", day, nil))
			if err != nil || res.Stop {
				t.Fatalf("stop %v, %v", res.Stop, err)
			}
			if d := cmp.Diff(tt.want, res.Effects); d != "" {
				t.Errorf("effects (-want +got):\n%s", d)
			}
			if err := res.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := reg.Configure("profile", map[string]any{"visitors": "yes"}); err == nil {
		t.Error("bad setting accepted")
	}
}
