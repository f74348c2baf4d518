package condition_test

import (
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/condition"
)

func event() *visitor.Event {
	no, zero := false, 0.0
	return &visitor.Event{
		TenantID:     "acme",
		Stage:        visitor.StageEnriched,
		Source:       "midbound",
		IdentifiedAt: time.Date(2026, 2, 3, 10, 11, 12, 0, time.UTC),
		Person: visitor.Person{
			FirstName: "Zoe\u0308", // decomposed
			LastName:  "\u0130nce", // capital I with dot
			Title:     "Co-Founder & CTO",
			Emails: []visitor.Email{
				{Address: "Ada@acme.example", Kind: visitor.EmailProfessional}, {Address: "ada.l@example.net", Kind: visitor.EmailPersonal},
			},
			Demographics: visitor.Demographics{IsMarried: &no},
		},
		Visit: visitor.Visit{
			PageURL: "https://www.example.com/Admin/x?next=/other#top", PagesViewed: 3, DurationSeconds: 95.5,
			Pages: []visitor.Page{
				{URL: "https://www.example.com/administrator", At: time.Date(2026, 2, 3, 10, 0, 0, 0, time.UTC)},
				{URL: "https://shop.example.com/cart"},
			},
		},
		Session: visitor.Session{Host: "xn--bcher-kva.example", Network: visitor.Network{BotScore: &zero, ASN: 64496}},
		Attribution: visitor.Attribution{
			PageID: "pricing",
			CustomAttributes: map[string]any{
				"plan": "Pro", "seats": 12.0, "stored": int64(3), "trial": false, "level": "7", "empty": "", "a.b": "dotted", "none": nil,
				"tags": []any{"x", "Y", 5.0}, "owner": map[string]any{"team": map[string]any{"name": "North"}}, "object": map[string]any{},
			},
			ExtraOptions: map[string]any{"ref": "partner"},
		},
	}
}

func TestCondition_Match(t *testing.T) {
	t.Parallel()

	tests := []struct {
		field string
		op    condition.Op
		value any
		want  bool
	}{
		{"person.title", condition.Equals, "co-founder & cto", true},
		{"person.title", condition.Equals, "cto", false},
		{"person.title", condition.NotEquals, "cto", true},
		{"person.title", condition.NotEquals, "CO-FOUNDER & CTO", false},
		{"person.title", condition.Contains, "FOUND", true},
		{"person.title", condition.Contains, "ceo", false},
		{"person.title", condition.StartsWith, "co-", true},
		{"person.title", condition.StartsWith, "cto", false},
		{"person.title", condition.EndsWith, "cto", true},
		{"person.title", condition.EndsWith, "co-", false},
		{"person.title", condition.OneOf, []any{"ceo", "Co-founder & CTO"}, true},
		{"person.title", condition.OneOf, []string{"ceo", "cfo"}, false},
		{"person.title", condition.Exists, nil, true},
		{"person.title", condition.Missing, nil, false},
		{"stage", condition.Equals, "enriched", true}, // a named text type

		{"person.headline", condition.Exists, nil, false},
		{"person.headline", condition.Missing, nil, true},
		{"person.headline", condition.Equals, "x", false},
		{"person.headline", condition.NotEquals, "x", true},
		{"person.headline", condition.Contains, "x", false},

		{"person.first_name", condition.Equals, "ZO\u00cb", true}, // composed
		{"person.last_name", condition.Equals, "ince", true},
		{"person.last_name", condition.Contains, "İN", true},

		{"person.emails.address", condition.EndsWith, "@example.net", true},
		{"person.emails.address", condition.Equals, "ada@ACME.example", true},
		{"person.emails.address", condition.EndsWith, "@example.org", false},
		{"person.emails.address", condition.NotEquals, "ada.l@example.net", false}, // one element equals it
		{"person.emails.kind", condition.Equals, "personal", true},
		{"person.emails", condition.Exists, nil, true},
		{"person.phones", condition.Exists, nil, false},
		{"person.phones.number", condition.Missing, nil, true},
		{"person.emails.validity", condition.Missing, nil, true},
		{"company", condition.Missing, nil, true},
		{"person", condition.Exists, nil, true},

		{"visit.pages_viewed", condition.Equals, 3, true},
		{"visit.pages_viewed", condition.Equals, 4.0, false},
		{"visit.pages_viewed", condition.Greater, int64(2), true},
		{"visit.pages_viewed", condition.Greater, 3, false},
		{"visit.pages_viewed", condition.Less, 4, true},
		{"visit.pages_viewed", condition.OneOf, []any{1, 3.0}, true},
		{"visit.duration_seconds", condition.Less, 95.6, true},
		{"visit.duration_seconds", condition.Less, 95.5, false},
		{"visit.visit_number", condition.Less, 5, false}, // missing is not less
		{"visit.visit_number", condition.Exists, nil, false},
		{"session.network.bot_score", condition.Less, 1, true}, // a given zero
		{"session.network.bot_score", condition.Exists, nil, true},
		{"session.network.asn", condition.Equals, 64496, true},

		{"person.demographics.is_married", condition.Equals, false, true},
		{"person.demographics.is_married", condition.Equals, true, false},
		{"person.demographics.is_married", condition.Exists, nil, true},
		{"person.demographics.has_children", condition.Equals, false, false},
		{"person.demographics.has_children", condition.NotEquals, true, true},
		{"person.demographics.has_children", condition.Missing, nil, true},

		{"session.host", condition.Equals, "https://www.Bücher.example:443/", true}, // stored normalised
		{"session.host", condition.OneOf, []any{"example.com", "bücher.example"}, true},
		{"session.host", condition.NotEquals, "xn--bcher-kva.example", false},
		{"session.host", condition.Equals, "example.com", false},
		{"session.host", condition.EndsWith, ".example", true},

		{"identified_at", condition.Greater, "2026-02-03", true},
		{"identified_at", condition.Greater, "2026-02-04", false},
		{"identified_at", condition.Less, "2026-02-03T12:11:13+02:00", true},
		{"identified_at", condition.Equals, "2026-02-03T12:11:12+02:00", true},
		{"identified_at", condition.Equals, time.Date(2026, 2, 3, 10, 11, 12, 0, time.UTC), true},
		{"identified_at", condition.Equals, "2026-02-03", false},
		{"processed_at", condition.Less, "2030-01-01", false},
		{"processed_at", condition.Missing, nil, true},
		{"visit.pages.at", condition.Less, "2026-02-03T10:30:00Z", true},

		{"visit.page_url", condition.PathUnder, "/admin", true},
		{"visit.page_url", condition.PathUnder, "/other", false},
		{"visit.pages.url", condition.PathUnder, "/admin", false},
		{"visit.pages.url", condition.PathUnder, "shop.example.com/", true},
		{"visit.referrer", condition.PathUnder, "/", false},

		{"attribution.custom_attributes.plan", condition.Equals, "pro", true},
		{"attribution.custom_attributes.plan", condition.OneOf, []any{"free", "pro", 3}, true},
		{"attribution.custom_attributes.plan", condition.Greater, 3, false},
		{"attribution.custom_attributes.plan", condition.Equals, true, false},
		{"attribution.custom_attributes.seats", condition.Greater, 10, true},
		{"attribution.custom_attributes.seats", condition.Equals, "12", true}, // sites write either
		{"attribution.custom_attributes.stored", condition.Equals, "3", true},
		{"attribution.custom_attributes.stored", condition.Equals, 3, true},
		{"attribution.custom_attributes.level", condition.Less, 8, true},
		{"attribution.custom_attributes.trial", condition.Equals, false, true},
		{"attribution.custom_attributes.trial", condition.Equals, "false", true},
		{"attribution.custom_attributes.trial", condition.Exists, nil, true},
		{"attribution.custom_attributes.empty", condition.Exists, nil, false},
		{"attribution.custom_attributes.none", condition.Exists, nil, false},
		{"attribution.custom_attributes.object", condition.Exists, nil, false},
		{"attribution.custom_attributes.owner", condition.Exists, nil, true},
		{"attribution.custom_attributes.owner", condition.Contains, "north", false},
		{"attribution.custom_attributes.unknown", condition.Missing, nil, true},
		{"attribution.custom_attributes.tags", condition.Equals, "y", true},
		{"attribution.custom_attributes.tags", condition.Equals, 5, true},
		{"attribution.custom_attributes.tags", condition.Equals, "z", false},
		{"attribution.custom_attributes.a.b", condition.Equals, "dotted", true},
		{"attribution.custom_attributes.owner.team.name", condition.Equals, "north", true},
		{"attribution.custom_attributes.owner.team.size", condition.Missing, nil, true},
		{"attribution.custom_attributes.plan.deeper", condition.Exists, nil, false},
		{"attribution.custom_attributes", condition.Exists, nil, true},
		{"attribution.extra_options.ref", condition.StartsWith, "PART", true},
	}
	for _, tc := range tests {
		m := map[string]any{"field": tc.field, "op": string(tc.op)}
		if tc.value != nil {
			m["value"] = tc.value
		}
		c, err := condition.Compile(m)
		if err != nil {
			t.Errorf("%s %s: %v", tc.field, tc.op, err)
			continue
		}
		if got := c.Match(event()); got != tc.want {
			t.Errorf("%s %s %v = %v, want %v", tc.field, tc.op, tc.value, got, tc.want)
		}
	}
}

func TestCondition_pathUnder(t *testing.T) {
	t.Parallel()

	tests := []struct {
		value, url string
		want       bool
	}{
		{"/admin", "https://example.com/admin", true},
		{"/admin", "https://example.com/admin/", true},
		{"/admin", "https://example.com/admin/x", true},
		{"/admin", "https://example.com/admin?x=1", true},
		{"/admin", "https://example.com/admin#x", true},
		{"/admin", "https://example.com/administrator", false},
		{"/admin", "https://example.com/x/admin", false},
		{"/admin", "https://example.com/?to=/admin", false},
		{"/admin", "https://admin/", false},
		{"/admin", "/admin/x", true},
		{"/admin", "//example.com/admin", true},
		{"/admin", "example.com/admin", true},
		{"/admin", "https://example.com/%61dmin/x", true},
		{"/admin", "https://example.com/%zzdmin", false},
		{"/admin/", "https://example.com/admin", true},
		{"/a/b", "https://example.com/a", false},
		{"/", "https://example.com", true},
		{"/", "https://example.com/any", true},
		{"/büro", "https://example.com/B%C3%9CRO/x", true},
		{"example.com/admin", "https://example.com/admin", true},
		{"example.com/admin", "https://EXAMPLE.com:8443/Admin/x", true},
		{"example.com/admin", "https://user@example.com/admin", true},
		{"example.com/admin", "https://www.example.com/admin", true},
		{"www.example.com/admin", "https://example.com/admin", true},
		{"example.com/admin", "https://shop.example.com/admin", false},
		{"example.com/admin", "https://bad host/admin", false},
		{"example.com/admin", "https://example.com/other", false},
		{"example.com/admin", "/admin", false},
		{"example.com/", "https://example.com", true},
		{"https://example.com/admin", "http://example.com/admin", true},
		{"[2001:db8::1]/x", "https://[2001:db8::1]:80/x", true},
		{"bücher.example/x", "https://xn--bcher-kva.example/x", true},
		{"xn--bcher-kva.example/x", "https://bücher.example/x", true},
	}
	for _, tc := range tests {
		c, err := condition.Compile(map[string]any{"field": "visit.page_url", "op": "path_under", "value": tc.value})
		if err != nil {
			t.Errorf("%s: %v", tc.value, err)
			continue
		}
		ev := &visitor.Event{Visit: visitor.Visit{PageURL: tc.url}}
		if got := c.Match(ev); got != tc.want {
			t.Errorf("%s under %s = %v, want %v", tc.url, tc.value, got, tc.want)
		}
	}
}

func TestCompile_errors(t *testing.T) {
	t.Parallel()

	tests := []struct {
		name    string
		in      map[string]any
		wantErr []string
	}{
		{"nothing", nil, []string{"field: missing", "op: want one of [equals not_equals"}},
		{"everything wrong", map[string]any{"field": 1, "op": "is", "val": 2, "and": 3}, []string{
			"and: unknown key", "val: unknown key", "field: missing", "op: want one of",
		}},
		{"misspelled", map[string]any{"field": "person.titel", "op": "exists"}, []string{
			`field: "person.titel" is not a field of an event; did you mean "person.title"?`,
		}},
		{"capitals", map[string]any{"field": "Person.Title", "op": "exists"}, []string{`did you mean "person.title"?`}},
		{"last part only", map[string]any{"field": "country_code", "op": "exists"}, []string{`did you mean "company.location.country_code"?`}},
		{"nothing near", map[string]any{"field": "zzzzzzzzzzzzzzz", "op": "exists"}, []string{`"zzzzzzzzzzzzzzz" is not a field of an event`}},
		{"below a text", map[string]any{"field": "person.title.length", "op": "exists"}, []string{`"person.title.length" is not a field`}},
		{"empty key of a free map", map[string]any{"field": "attribution.custom_attributes.", "op": "exists"}, []string{"is not a field"}},
		{"object compared", map[string]any{"field": "person", "op": "equals", "value": "x"}, []string{
			"op: equals is not for a field that holds object or list (want one of [exists missing])",
		}},
		{"list compared", map[string]any{"field": "person.emails", "op": "contains", "value": "x"}, []string{"op: contains is not for"}},
		{"free map compared", map[string]any{"field": "attribution.extra_options", "op": "equals", "value": "x"}, []string{"op: equals is not for"}},
		{"text ordered", map[string]any{"field": "person.title", "op": "greater", "value": 1}, []string{"op: greater is not for a field that holds text"}},
		{"number contains", map[string]any{"field": "visit.pages_viewed", "op": "contains", "value": "1"}, []string{"op: contains is not for a field that holds number"}},
		{"boolean ordered", map[string]any{"field": "visit.is_return", "op": "less", "value": true}, []string{"op: less is not for"}},
		{"exists with value", map[string]any{"field": "person.title", "op": "exists", "value": true}, []string{"value: exists takes none"}},
		{"text without value", map[string]any{"field": "person.title", "op": "equals"}, []string{"value: want a text that is not empty"}},
		{"empty text", map[string]any{"field": "person.title", "op": "equals", "value": ""}, []string{"value: want a text that is not empty"}},
		{"text with number", map[string]any{"field": "person.title", "op": "contains", "value": 3}, []string{"value: want a text for contains"}},
		{"number with text", map[string]any{"field": "visit.pages_viewed", "op": "greater", "value": "3"}, []string{"value: want a number"}},
		{"boolean with text", map[string]any{"field": "visit.is_return", "op": "equals", "value": "true"}, []string{"value: want a boolean"}},
		{"time with text", map[string]any{"field": "identified_at", "op": "less", "value": "soon"}, []string{"value: want a time like"}},
		{"time equals text", map[string]any{"field": "identified_at", "op": "equals", "value": "soon"}, []string{"value: want a time like"}},
		{"zero time", map[string]any{"field": "identified_at", "op": "less", "value": time.Time{}}, []string{"value: want a time like"}},
		{"free without value", map[string]any{"field": "attribution.extra_options.x", "op": "equals"}, []string{"value: want a text, number or boolean"}},
		{"one_of without list", map[string]any{"field": "person.title", "op": "one_of", "value": "cto"}, []string{"value: want a list of at least one"}},
		{"one_of empty", map[string]any{"field": "person.title", "op": "one_of", "value": []any{}}, []string{"value: want a list of at least one"}},
		{"one_of of another type", map[string]any{"field": "person.title", "op": "one_of", "value": []any{"a", 1}}, []string{"value: item 1: want"}},
		{"path without slash", map[string]any{"field": "visit.page_url", "op": "path_under", "value": "admin"}, []string{"value: want /path or host/path"}},
		{"path on no host", map[string]any{"field": "visit.page_url", "op": "path_under", "value": "a b/admin"}, []string{"value: not a host name"}},
		{"no host", map[string]any{"field": "session.host", "op": "equals", "value": "a b"}, []string{"value: want a host name"}},
		{"host in a list", map[string]any{"field": "session.host", "op": "one_of", "value": []any{"a.example", 1}}, []string{"value: item 1: want a host name"}},
		{"path with query", map[string]any{"field": "visit.page_url", "op": "path_under", "value": "/admin?x"}, []string{"value: want /path or host/path"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			_, err := condition.Compile(tc.in)
			for _, w := range tc.wantErr {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("Compile = %v, want %q in it", err, w)
				}
			}
		})
	}
}

func TestCompileList(t *testing.T) {
	t.Parallel()

	good := map[string]any{"field": "person.title", "op": "contains", "value": "cto"}
	bad := map[string]any{"field": "person.title", "op": "is"}
	conds, err := condition.CompileList([]map[string]any{good, good})
	if err != nil || len(conds) != 2 || !conds[1].Match(event()) {
		t.Errorf("CompileList of two = %d conditions, %v", len(conds), err)
	}
	_, err = condition.CompileList([]map[string]any{bad, good, bad})
	for _, w := range []string{"item 0: op:", "item 2: op:"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("CompileList = %v, want %q in it", err, w)
		}
	}
}

func TestAllAny(t *testing.T) {
	t.Parallel()

	compile := func(value string) condition.Condition {
		c, err := condition.Compile(map[string]any{"field": "person.title", "op": "contains", "value": value})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	yes, no := compile("cto"), compile("ceo")
	for name, tc := range map[string]struct {
		c    condition.Condition
		want bool
	}{
		"zero value":  {condition.Condition{}, true},
		"all of none": {condition.All(), true}, "all true": {condition.All(yes, yes), true}, "all mixed": {condition.All(yes, no), false},
		"any of none": {condition.Any(), false}, "any mixed": {condition.Any(no, yes), true}, "any false": {condition.Any(no, no), false},
		"nested": {condition.All(yes, condition.Any(no, condition.All(yes))), true},
	} {
		if got := tc.c.Match(event()); got != tc.want {
			t.Errorf("%s = %v, want %v", name, got, tc.want)
		}
	}
}

func TestOps_complete(t *testing.T) {
	t.Parallel()

	// Every operator compiles for some field, so none is listed that cannot be used.
	value := map[condition.Op]any{
		condition.OneOf: []any{"x"}, condition.Exists: nil, condition.Missing: nil, condition.Greater: 1, condition.Less: 1,
		condition.PathUnder: "/x",
	}
	for _, op := range condition.Ops() {
		m := map[string]any{"field": "attribution.custom_attributes.x", "op": string(op), "value": "x"}
		if v, ok := value[op]; ok {
			m["value"] = v
		}
		if _, err := condition.Compile(m); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("person.title", "contains", "cto")
	f.Add("attribution.custom_attributes.a.b", "equals", "x")
	f.Add("visit.page_url", "path_under", "example.com/%zz")
	ev := event()
	f.Fuzz(func(t *testing.T, field, op, value string) {
		c, err := condition.Compile(map[string]any{"field": field, "op": op, "value": value})
		if err != nil {
			return
		}
		// Whatever compiles can be evaluated, on full and on empty events.
		c.Match(ev)
		c.Match(&visitor.Event{})
	})
}

func BenchmarkMatch(b *testing.B) {
	for name, m := range map[string]map[string]any{
		"text":   {"field": "person.title", "op": "contains", "value": "cto"},
		"list":   {"field": "person.emails.address", "op": "ends_with", "value": "@example.net"},
		"number": {"field": "visit.pages_viewed", "op": "greater", "value": 2},
		"time":   {"field": "identified_at", "op": "less", "value": "2026-02-04"},
		"path":   {"field": "visit.pages.url", "op": "path_under", "value": "/cart"},
		"free":   {"field": "attribution.custom_attributes.plan", "op": "equals", "value": "pro"},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := condition.Compile(m)
			if err != nil {
				b.Fatal(err)
			}
			ev := event()
			b.ReportAllocs()
			for b.Loop() {
				if !c.Match(ev) {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	m := map[string]any{"field": "person.title", "op": "contains", "value": "cto"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := condition.Compile(m); err != nil {
			b.Fatal(err)
		}
	}
}
