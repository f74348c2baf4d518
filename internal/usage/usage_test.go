package usage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/tenant"
	"github.com/usherhq/usher/internal/usage"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func event(id visitor.TenantID, at time.Time, page, campaign string) *visitor.Event {
	return &visitor.Event{
		TenantID: id, Source: "midbound", Receipt: visitor.Receipt{ReceivedAt: at},
		Attribution: visitor.Attribution{PageID: page, CampaignID: campaign},
	}
}

// commit writes a delta to a store.
func commit(t *testing.T, s store.Store, d *usage.Delta, shard int) {
	t.Helper()
	w, err := d.Writes(shard)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s store.Store, id visitor.TenantID, month string, shards int) *usage.Month {
	t.Helper()
	m, err := usage.Read(t.Context(), s, id, month, shards)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestShardsAreSummed(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	ten := &tenant.Tenant{ID: "t1"}
	for shard := range 3 {
		var d usage.Delta
		d.Add(event("t1", noon, "", ""), ten, usage.FirstMatch)
		d.Add(event("t1", noon, "", ""), ten, usage.RepeatMatch)
		leadpipe := event("t1", noon.Add(-24*time.Hour), "", "")
		leadpipe.Source = "leadpipe"
		d.Add(leadpipe, ten, usage.NoMatch)
		d.Count(leadpipe, processor.Count{Name: "big_fish", N: 5})
		d.Count(leadpipe, processor.Count{Name: "big_fish", N: -1})
		commit(t, s, &d, shard)
	}
	two := usage.Counts{Events: 6, Identifications: 3, Repeats: 3}
	want := &usage.Month{
		TenantID: "t1", Month: "2026-11",
		Counts:  usage.Counts{Events: 9, Identifications: 3, Repeats: 3},
		Days:    map[string]usage.Counts{"2026-11-30": two, "2026-11-29": {Events: 3}},
		Sources: map[string]usage.Counts{"midbound": two, "leadpipe": {Events: 3}},
		Pages:   map[string]int64{}, Campaigns: map[string]int64{}, Custom: map[string]int64{"big_fish": 12},
	}
	if d := cmp.Diff(want, read(t, s, "t1", "2026-11", 3)); d != "" {
		t.Errorf("usage (-want +got):\n%s", d)
	}
	if got := read(t, s, "t1", "2026-11", 1).Events; got != 3 {
		t.Errorf("one shard has %d events, want 3", got)
	}
}

func TestMonthAndDayBoundaries(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	var d usage.Delta
	ten := &tenant.Tenant{ID: "t1"}
	late := time.Date(2026, 11, 30, 23, 59, 59, 900e6, time.UTC)
	d.Add(event("t1", late, "", ""), ten, usage.NoMatch)
	d.Add(event("t1", late.Add(100*time.Millisecond), "", ""), ten, usage.NoMatch)
	d.Add(event("t1", late.In(time.FixedZone("UTC+9", 9*3600)), "", ""), ten, usage.NoMatch)
	commit(t, s, &d, 0)
	if m := read(t, s, "t1", "2026-11", 1); m.Events != 2 || m.Days["2026-11-30"].Events != 2 {
		t.Errorf("November: %+v", m)
	}
	if m := read(t, s, "t1", "2026-12", 1); m.Events != 1 || m.Days["2026-12-01"].Events != 1 {
		t.Errorf("December: %+v", m)
	}
	if m := read(t, s, "t1", "2027-01", 1); m.Events != 0 || len(m.Days) != 0 {
		t.Errorf("a month without events: %+v", m)
	}
}

func TestPagesAndCampaigns(t *testing.T) {
	t.Parallel()
	ten := &tenant.Tenant{ID: "t1", UsagePages: []string{"home", "a.b/c d", "__bad__"}, UsageCampaigns: []string{"spring\x1fsale"}}
	s := memstore.New(memstore.Options{})
	var d usage.Delta
	for page, n := range map[string]int{"home": 3, "a.b/c d": 2, "unlisted": 4, "__bad__": 1, "": 5} {
		for range n {
			d.Add(event("t1", noon, page, ""), ten, usage.NoMatch)
		}
	}
	d.Add(event("t1", noon, "", "spring\x1fsale"), ten, usage.NoMatch)
	d.Add(event("t1", noon, "", "fall"), ten, usage.NoMatch)
	commit(t, s, &d, 0)
	m := read(t, s, "t1", "2026-11", 1)
	if d := cmp.Diff(map[string]int64{"home": 3, "a.b/c d": 2, usage.Other: 5}, m.Pages); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]int64{"spring\x1fsale": 1, usage.Other: 1}, m.Campaigns); d != "" {
		t.Errorf("campaigns (-want +got):\n%s", d)
	}
	var none usage.Delta
	none.Add(event("t1", noon, "home", "fall"), &tenant.Tenant{ID: "t1"}, usage.NoMatch)
	w, err := none.Writes(0)
	if err != nil || len(w) != 1 || len(w[0].Add) != 3 {
		t.Errorf("a tenant that lists nothing counts nothing by name: %+v, %v", w, err)
	}
}

func TestWritesAreOnePerTenantAndMonth(t *testing.T) {
	t.Parallel()
	var d usage.Delta
	if w, err := d.Writes(0); err != nil || len(w) != 0 {
		t.Errorf("nothing counted: %v, %v", w, err)
	}
	for _, id := range []visitor.TenantID{"t2", "t1", "t2"} {
		for _, at := range []time.Time{noon, noon.AddDate(0, 0, 1)} {
			d.Add(event(id, at, "", ""), &tenant.Tenant{ID: id}, usage.FirstMatch)
		}
	}
	w, err := d.Writes(7)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for i := range w {
		paths = append(paths, string(w[i].Path))
		if w[i].IfMissing || !w[i].IfVersion.IsZero() || len(w[i].Fields) > 0 {
			t.Errorf("%s: counters are increments without precondition", w[i].Path)
		}
	}
	want := []string{
		"tenants/t1/usage_shards/2026-11-7", "tenants/t1/usage_shards/2026-12-7",
		"tenants/t2/usage_shards/2026-11-7", "tenants/t2/usage_shards/2026-12-7",
	}
	if d := cmp.Diff(want, paths); d != "" {
		t.Errorf("paths (-want +got):\n%s", d)
	}
}

func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	var d usage.Delta
	d.Add(event("t1", noon, "", ""), &tenant.Tenant{ID: "t1"}, usage.NoMatch)
	commit(t, s, &d, 0)
	if m := read(t, s, "t2", "2026-11", 4); m.Events != 0 {
		t.Errorf("t2 has %d events", m.Events)
	}
}

func TestForbiddenTenant(t *testing.T) {
	t.Parallel()
	var d usage.Delta
	d.Add(event("a/b", noon, "", ""), &tenant.Tenant{ID: "a/b"}, usage.NoMatch)
	if _, err := d.Writes(0); code.Of(err) != code.Invalid {
		t.Errorf("Writes: %v", err)
	}
	if _, err := usage.Read(t.Context(), memstore.New(memstore.Options{}), "a/b", "2026-11", 1); code.Of(err) != code.Invalid {
		t.Errorf("Read: %v", err)
	}
}

func TestReadErrorKeepsItsCode(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := usage.Read(t.Context(), s, "t1", "2026-11", 1)
	if code.Of(err) != code.Unavailable || !strings.HasPrefix(err.Error(), "read usage: ") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := usage.Read(ctx, memstore.New(memstore.Options{}), "t1", "2026-11", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestReadPassesOverOddFields(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Options{})
	err := s.Commit(t.Context(), []store.Write{{Path: "tenants/t1/usage_shards/2026-11-0", Fields: store.Fields{
		{Name: "events", Value: int64(2)}, {Name: "days", Value: store.Fields{{Name: "2026-11-30", Value: "x"}}},
		{Name: "pages", Value: store.Fields{{Name: "home", Value: 1.5}}}, {Name: "custom", Value: "x"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if m := read(t, s, "t1", "2026-11", 1); m.Events != 2 || len(m.Days)+len(m.Pages)+len(m.Custom) != 0 {
		t.Errorf("usage %+v", m)
	}
}

func TestParseMonth(t *testing.T) {
	t.Parallel()
	if m, err := usage.ParseMonth("2026-02"); m != "2026-02" || err != nil {
		t.Errorf("%q, %v", m, err)
	}
	for _, bad := range []string{"", "2026", "2026-13", "2026-00", "2026-2", "26-02", "2026-02-01", "2026/02", " 2026-02"} {
		if _, err := usage.ParseMonth(bad); err == nil || !strings.Contains(err.Error(), "want YYYY-MM") {
			t.Errorf("ParseMonth(%q): %v", bad, err)
		}
	}
}

func BenchmarkDelta(b *testing.B) {
	ten := &tenant.Tenant{ID: "t1"}
	ev := event("t1", noon, "home", "fall")
	b.ReportAllocs()
	for b.Loop() {
		var d usage.Delta
		for range 10 {
			d.Add(ev, ten, usage.FirstMatch)
		}
		if _, err := d.Writes(0); err != nil {
			b.Fatal(err)
		}
	}
}
