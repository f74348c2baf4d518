package layout_test

import (
	"strings"
	"testing"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
)

// TestPaths pins where documents are: a change would lose all stored data.
func TestPaths(t *testing.T) {
	t.Parallel()

	path := func(p store.Path, err error) store.Path {
		if err != nil {
			t.Error(err)
		}
		return p
	}
	for _, tc := range []struct {
		got   store.Path
		want  string
		isDoc bool
	}{
		{layout.TenantCollection(), "tenants", false},
		{path(layout.Tenant("acme")), "tenants/acme", true},
		{path(layout.IdentificationCollection("acme")), "tenants/acme/visitor_identifications", false},
		{path(layout.Identification("acme", "evt_a")), "tenants/acme/visitor_identifications/evt_a", true},
		{path(layout.VisitorCollection("acme")), "tenants/acme/visitors", false},
		{path(layout.Visitor("acme", "vis_a")), "tenants/acme/visitors/vis_a", true},
		{path(layout.UsageShard("acme", "2026-02", 3)), "tenants/acme/usage_shards/2026-02-3", true},
		{path(layout.HeldCollection("acme")), "tenants/acme/held_events", false},
		{path(layout.HeldEvent("acme", "evt_a")), "tenants/acme/held_events/evt_a", true},
		{path(layout.HeldPart("acme", "K7", 2)), "tenants/acme/held_parts/K7-0002", true},
		{path(layout.Route("domain", "bücher.example")), "routes/domain:bücher.example", true},
		{layout.DeadLetterCollection(), "dead_letters", false},
		{path(layout.DeadLetter("dl_a")), "dead_letters/dl_a", true},
		{path(layout.PayloadPart("dl_a", 2)), "dead_letters/dl_a/payload_parts/0002", true},
		{path(layout.AuditRecord("01M8")), "operator_audit/01M8", true},
	} {
		if string(tc.got) != tc.want || tc.got.IsDoc() != tc.isDoc {
			t.Errorf("path = %q (document: %v), want %q (document: %v)", tc.got, tc.got.IsDoc(), tc.want, tc.isDoc)
		}
	}
}

// TestPaths_hostile: no id, however made, leads out of its collection.
func TestPaths_hostile(t *testing.T) {
	t.Parallel()

	for name, id := range map[string]string{
		"empty": "", "dot": ".", "dots": "..", "reserved": "__all__", "slash": "acme/visitors", "traversal": "../globex", "zero": "a\x00b",
		"not UTF-8": "a\xff", "too long": strings.Repeat("x", store.MaxSegment+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			tenant := visitor.TenantID(id)
			paths := map[string]func() (store.Path, error){
				"tenant":          func() (store.Path, error) { return layout.Tenant(tenant) },
				"identifications": func() (store.Path, error) { return layout.IdentificationCollection(tenant) },
				"identification":  func() (store.Path, error) { return layout.Identification("acme", visitor.EventID(id)) },
				"visitors":        func() (store.Path, error) { return layout.VisitorCollection(tenant) },
				"visitor":         func() (store.Path, error) { return layout.Visitor("acme", visitor.VisitorID(id)) },
				"of tenant":       func() (store.Path, error) { return layout.Visitor(tenant, "vis_a") },
				"shard":           func() (store.Path, error) { return layout.UsageShard(tenant, "2026-02", 0) },
				"held events":     func() (store.Path, error) { return layout.HeldCollection(tenant) },
				"held event":      func() (store.Path, error) { return layout.HeldEvent("acme", visitor.EventID(id)) },
				"held part":       func() (store.Path, error) { return layout.HeldPart(tenant, "K7", 0) },
				"dead letter":     func() (store.Path, error) { return layout.DeadLetter(id) },
				"payload part":    func() (store.Path, error) { return layout.PayloadPart(id, 0) },
				"operator_audit":  func() (store.Path, error) { return layout.AuditRecord(id) },
			}
			for what, build := range paths {
				p, err := build()
				if code.Of(err) != code.Invalid || p != "" {
					t.Errorf("%s path = %q, %v, want code invalid", what, p, err)
				}
				if err != nil && len(id) > 3 && strings.Contains(err.Error(), id) {
					t.Errorf("%s error quotes the id: %v", what, err)
				}
			}
		})
	}
	for _, value := range []string{"a/b", "a\x00", strings.Repeat("x", store.MaxSegment)} {
		if p, err := layout.Route("domain", value); code.Of(err) != code.Invalid {
			t.Errorf("Route = %q, %v, want code invalid", p, err)
		}
	}
}
