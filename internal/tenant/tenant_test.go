package tenant_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/internal/filter"
	"github.com/usherhq/usher/internal/tenant"
)

func full() tenant.Tenant {
	at := time.Date(2026, 2, 3, 10, 11, 12, 0, time.UTC)
	return tenant.Tenant{
		ID: "acme", Name: "Acme", Status: tenant.Active,
		Domains: []string{"www.example.com"}, Pixels: []string{"mdb_pxl_1"},
		Processors: []tenant.Binding{{Name: "filter", Settings: map[string]any{
			"match":      "any",
			"conditions": []any{map[string]any{"field": "person.title", "op": "contains", "value": "cto"}},
		}}},
		UsagePages: []string{"pricing"}, UsageCampaigns: []string{"q1"},
		CreatedAt: at, UpdatedAt: at.Add(time.Hour), Version: 3,
	}
}

func registry(t *testing.T) *processor.Registry {
	t.Helper()
	reg := processor.NewRegistry()
	if err := reg.Register(filter.Processor{}); err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestTenant_Validate(t *testing.T) {
	t.Parallel()

	many := func(n int) []string { return make([]string, n) }
	tests := []struct {
		name    string
		change  func(*tenant.Tenant)
		wantErr []string
	}{
		{"complete", func(*tenant.Tenant) {}, nil},
		{"disabled", func(r *tenant.Tenant) { r.Status = tenant.Disabled }, nil},
		{"offboarded", func(r *tenant.Tenant) { r.Status = tenant.Offboarded }, nil},
		{"id", func(r *tenant.Tenant) { r.ID = "a/b" }, []string{"tenant id: want"}},
		{"no status", func(r *tenant.Tenant) { r.Status = "" }, []string{"status: want active, disabled or offboarded"}},
		{"unknown status", func(r *tenant.Tenant) { r.Status = "paused" }, []string{"status: want"}},
		{"name", func(r *tenant.Tenant) { r.Name = strings.Repeat("x", tenant.MaxName+1) }, []string{"name: too long"}},
		{
			"all at once",
			func(r *tenant.Tenant) {
				r.ID, r.Status = "", "paused"
				r.Domains, r.Pixels = many(tenant.MaxRoutes+1), many(tenant.MaxRoutes+1)
				r.UsagePages, r.UsageCampaigns = many(tenant.MaxUsageKeys+1), many(tenant.MaxUsageKeys+1)
				r.Processors = make([]tenant.Binding, tenant.MaxProcessors+1)
			},
			[]string{
				"tenant id", "status", "domains: too long", "pixels: too long", "processors: too long", "usage_pages: too long",
				"usage_campaigns: too long", `processors[20]: unknown processor ""`,
			},
		},
		{
			"unknown processor",
			func(r *tenant.Tenant) { r.Processors = append(r.Processors, tenant.Binding{Name: "other"}) },
			[]string{`processors[1]: unknown processor "other"`},
		},
		{
			"bad settings",
			func(r *tenant.Tenant) { r.Processors[0].Settings = map[string]any{"match": "some"} },
			[]string{`processors[0]: processor "filter": settings.conditions: required`},
		},
		{
			"default chain not registered",
			func(r *tenant.Tenant) { r.Processors = nil },
			[]string{`processors[0]: unknown processor "profile"`},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			r := full()
			tc.change(&r)
			err := r.Validate(registry(t))
			if tc.wantErr == nil && err != nil {
				t.Errorf("Validate = %v, want nil", err)
			}
			for _, w := range tc.wantErr {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("Validate = %v, want %q in it", err, w)
				}
			}
		})
	}
}

func TestTenant_Validate_limits(t *testing.T) {
	t.Parallel()

	r := full()
	r.Name = strings.Repeat("x", tenant.MaxName)
	r.Domains, r.Pixels = make([]string, tenant.MaxRoutes), make([]string, tenant.MaxRoutes)
	r.UsagePages, r.UsageCampaigns = make([]string, tenant.MaxUsageKeys), make([]string, tenant.MaxUsageKeys)
	r.Processors = make([]tenant.Binding, tenant.MaxProcessors)
	if err := r.Validate(nil); err != nil {
		t.Errorf("Validate of a record at its limits = %v, want nil", err)
	}
}

func TestTenant_Chain(t *testing.T) {
	t.Parallel()

	if diff := cmp.Diff([]tenant.Binding{{Name: "profile"}}, (&tenant.Tenant{}).Chain()); diff != "" {
		t.Errorf("default chain (-want +got):\n%s", diff)
	}
	r := full()
	if diff := cmp.Diff(r.Processors, r.Chain()); diff != "" {
		t.Errorf("own chain (-want +got):\n%s", diff)
	}
	tenant.DefaultChain()[0].Name = "changed"
	if got := (&tenant.Tenant{}).Chain()[0].Name; got != "profile" {
		t.Errorf("default chain after a caller changed its copy starts with %q", got)
	}
}

// TestTenant_files: what an operator exports as JSON or YAML is what import reads again.
func TestTenant_files(t *testing.T) {
	t.Parallel()

	type codec struct {
		marshal   func(any) ([]byte, error)
		unmarshal func([]byte, any) error
	}
	for name, c := range map[string]codec{"JSON": {json.Marshal, json.Unmarshal}, "YAML": {yaml.Marshal, yaml.Unmarshal}} {
		for _, want := range []tenant.Tenant{full(), {ID: "acme", Status: tenant.Active}} {
			b, err := c.marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var got tenant.Tenant
			if err := c.unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s round trip (-want +got):\n%s", name, diff)
			}
			if err := got.Validate(nil); err != nil {
				t.Errorf("%s round trip gave a bad record: %v", name, err)
			}
			if want.CreatedAt.IsZero() && strings.Contains(string(b), "created_at") {
				t.Errorf("%s of a short record spells out what is unset: %s", name, b)
			}
		}
	}
}

// TestTenant_cookbookTable: the cookbook's tenants table (id, name, mdb_org_id, webhook_config, created_at) has a
// place for each column, under the same name in both file formats.
func TestTenant_cookbookTable(t *testing.T) {
	t.Parallel()

	names := map[string]bool{}
	typ := reflect.TypeFor[tenant.Tenant]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		j, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		y, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if j == "" || j != y {
			t.Errorf("%s is %q in JSON and %q in YAML", f.Name, j, y)
		}
		names[j] = true
	}
	for column, field := range map[string]string{
		"id": "id", "name": "name", "created_at": "created_at",
		"mdb_org_id":     "pixels",     // the organisation's pixel routes its events
		"webhook_config": "processors", // what is done to each event
	} {
		if !names[field] {
			t.Errorf("column %s is mapped to %s, which the record does not have", column, field)
		}
	}
}
