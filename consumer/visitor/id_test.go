package visitor_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/consumer/visitor"
)

// TestIDs_golden pins the ids: a change would make every event of the past a new one.
func TestIDs_golden(t *testing.T) {
	t.Parallel()

	event := visitor.NewEventID("midbound", "acme", "evt_01KH5FW03RQB28JZ4F9D2ZC8ME", 0)
	for _, tc := range []struct{ name, got, want string }{
		{"event", string(event), "evt_wh7a6k2webzs4nn26ivhdrfft6oypuh2p3stxk4wgafyr2suwekq"},
		{
			"second record",
			string(visitor.NewEventID("midbound", "acme", "evt_01KH5FW03RQB28JZ4F9D2ZC8ME", 1)),
			"evt_c6zghg22yuso6cfcalxzxtdgmqtc4ovb5rk5ubtwkq5vh2e3ehvq",
		},
		{
			"empty key",
			string(visitor.NewEventID("leadpipe", "acme", "", 0)),
			"evt_tkrankrfkmsihqmz7xzhajgja7qfqkrmeitmixfo6k53ej7pwpva",
		},
		{"occurrence", string(event.Occurrence("2026-02-03")), "evt_brcttthrs2opjsqjmepbwjkow5uhywkptikpvno7mkvlmwl5634a"},
		{
			"visitor by e-mail",
			string(visitor.NewVisitorID("acme", visitor.Identifier{Kind: visitor.IdentifierEmail, Value: "ada@example.com"})),
			"vis_f5nu2towkyumafouwufkf4hxzjqes5fexbhux4tcvgpjjugdzcuq",
		},
		{
			"visitor by vendor id",
			string(visitor.NewVisitorID("acme", visitor.Identifier{
				Kind: visitor.IdentifierVendor, Value: "midbound:01KH5FW03RXBE3EZGHKW8V1J7M",
			})),
			"vis_6ofepgvvulykw77az6qa6szx4vn5mqwcqzxblab4q6ga6fkbv3aq",
		},
		{
			"identifier",
			visitor.HashIdentifier("acme", visitor.Identifier{Kind: visitor.IdentifierEmail, Value: "ada@example.com"}),
			"4ssvnqruij7ifffr4osmqfzni7qfjbvpxuqqai5xd7oe5zdpvrra",
		},
	} {
		if tc.got != tc.want {
			t.Errorf("%s id = %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestNewEventID_distinct(t *testing.T) {
	t.Parallel()

	// Each differs from the others in one part, or in where one part ends and the next begins.
	seen := map[visitor.EventID]string{}
	for name, id := range map[string]visitor.EventID{
		"base":          visitor.NewEventID("a", "b", "c", 0),
		"source":        visitor.NewEventID("x", "b", "c", 0),
		"tenant":        visitor.NewEventID("a", "x", "c", 0),
		"key":           visitor.NewEventID("a", "b", "x", 0),
		"index":         visitor.NewEventID("a", "b", "c", 1),
		"boundary":      visitor.NewEventID("ab", "", "c", 0),
		"boundary key":  visitor.NewEventID("a", "bc", "", 0),
		"next day":      visitor.NewEventID("a", "b", "c", 0).Occurrence("2026-02-03"),
		"day after":     visitor.NewEventID("a", "b", "c", 0).Occurrence("2026-02-04"),
		"other's day":   visitor.NewEventID("a", "b", "x", 0).Occurrence("2026-02-03"),
		"day of a day":  visitor.NewEventID("a", "b", "c", 0).Occurrence("2026-02-03").Occurrence("2026-02-03"),
		"index in text": visitor.NewEventID("a", "b", "c1", 0),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q have the same id", name, other)
		}
		seen[id] = name
		if err := visitor.TenantID(id).Validate(); err != nil {
			t.Errorf("id of %q cannot be a path segment: %v", name, err)
		}
	}
}

func TestTenantID_Validate(t *testing.T) {
	t.Parallel()

	valid := []visitor.TenantID{
		"a", "acme", "client_abc123", "ws_01KGR7E2S9JK6813H42SCG3QLP", "42", "A-b.c:d~e", "...", "_", "__", "___", "__a", "a__",
		visitor.TenantID(strings.Repeat("x", visitor.MaxTenantID)),
	}
	for _, id := range valid {
		if err := id.Validate(); err != nil {
			t.Errorf("Validate(%q) = %v, want nil", id, err)
		}
	}
	invalid := []visitor.TenantID{
		"", ".", "..", "____", "__x__", "a/b", "/", "a b", " a", "a\n", "a\x00", "a%2F", "a\\b", "a'b", `a"b`, "a?b", "a#b", "a,b", "ada@example.com", "a@b",
		"İstanbul", "テナント", "a\xff", "{a}", "<script>", "${a}", visitor.TenantID(strings.Repeat("x", visitor.MaxTenantID+1)),
	}
	for _, id := range invalid {
		err := id.Validate()
		if err == nil {
			t.Errorf("Validate(%q) = nil, want an error", id)
		} else if len(id) > 5 && strings.Contains(err.Error(), string(id)) {
			t.Errorf("Validate(%q) quotes the id: %v", id, err)
		}
	}
}

func TestNormalizeLinkedIn(t *testing.T) {
	t.Parallel()

	const want = "linkedin.com/in/ada-example"
	for _, raw := range []string{
		want, "https://linkedin.com/in/ada-example", "http://www.linkedin.com/in/ada-example/", "https://pt.linkedin.com/in/Ada-Example",
		"HTTPS://WWW.LINKEDIN.COM/IN/ADA-EXAMPLE", "  https://linkedin.com/in/ada-example?trk=x  ",
		"https://linkedin.com/in/ada-example#about", "https://linkedin.com/in/ada-example///", "https://linkedin.com/in/ada-example/?a=/b#c",
	} {
		if got := visitor.NormalizeLinkedIn(raw); got != want {
			t.Errorf("NormalizeLinkedIn(%q) = %q, want %q", raw, got, want)
		}
	}
	for _, raw := range []string{
		"", " ", "ada-example", "linkedin.com", "https://linkedin.com", "https://linkedin.com/", "https://linkedin.com/?in/ada",
		"https://linkedin.com.example/in/ada", "https://notlinkedin.com/in/ada", "https://example.com/linkedin.com/in/ada", "/in/ada",
	} {
		if got := visitor.NormalizeLinkedIn(raw); got != "" {
			t.Errorf("NormalizeLinkedIn(%q) = %q, want none", raw, got)
		}
	}
}

func TestNormalizeLinkedIn_idempotent(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.StringMatching(`(https?://)?(www\.|pt\.)?linkedin\.com/[a-zA-Z/?#İ%-]{0,12}`).Draw(t, "raw")
		once := visitor.NormalizeLinkedIn(raw)
		if twice := visitor.NormalizeLinkedIn(once); twice != once {
			t.Fatalf("NormalizeLinkedIn(%q) = %q, and again %q", raw, once, twice)
		}
	})
}

func TestEvent_Identifiers(t *testing.T) {
	t.Parallel()

	type id = visitor.Identifier
	tests := []struct {
		name  string
		event visitor.Event
		want  []id
	}{
		{"none", visitor.Event{Source: "s"}, []id{}},
		{
			"all, in order of precedence",
			visitor.Event{
				Source:  "midbound",
				Session: visitor.Session{VendorVisitor: "V1"},
				Person: visitor.Person{
					Emails:      []visitor.Email{{Address: "b@example.com"}, {Address: "a@example.com"}},
					LinkedInURL: "https://www.linkedin.com/in/ada",
				},
			},
			[]id{
				{Kind: visitor.IdentifierVendor, Value: "midbound:V1"},
				{Kind: visitor.IdentifierEmail, Value: "b@example.com"},
				{Kind: visitor.IdentifierEmail, Value: "a@example.com"},
				{Kind: visitor.IdentifierLinkedIn, Value: "linkedin.com/in/ada"},
			},
		},
		{
			"vendor id keeps its case, address does not",
			visitor.Event{
				Source:  "s",
				Session: visitor.Session{VendorVisitor: "aB"},
				Person:  visitor.Person{Emails: []visitor.Email{{Address: " Ada@EXAMPLE.com "}}},
			},
			[]id{{Kind: visitor.IdentifierVendor, Value: "s:aB"}, {Kind: visitor.IdentifierEmail, Value: "ada@example.com"}},
		},
		{
			"Turkish capital I with dot",
			visitor.Event{Person: visitor.Person{Emails: []visitor.Email{{Address: "İPEK@example.com"}}}},
			[]id{{Kind: visitor.IdentifierEmail, Value: "ipek@example.com"}},
		},
		{
			"internationalised address",
			visitor.Event{Person: visitor.Person{Emails: []visitor.Email{{Address: "ÅSA@bücher.example"}}}},
			[]id{{Kind: visitor.IdentifierEmail, Value: "åsa@bücher.example"}},
		},
		{
			"empty ones are skipped",
			visitor.Event{Person: visitor.Person{
				Emails: []visitor.Email{{Address: " "}, {Address: "a@example.com"}}, LinkedInURL: "https://example.com/in/ada",
			}},
			[]id{{Kind: visitor.IdentifierEmail, Value: "a@example.com"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			tc.event.TenantID = "acme"
			got := tc.event.Identifiers()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Identifiers (-want +got):\n%s", diff)
			}
			want := visitor.VisitorID("")
			if len(tc.want) > 0 {
				want = visitor.NewVisitorID("acme", tc.want[0])
			}
			if got := tc.event.Visitor(); got != want {
				t.Errorf("Visitor() = %q, want %q", got, want)
			}
		})
	}
}

func TestVisitorIDs_scopedByTenantAndKind(t *testing.T) {
	t.Parallel()

	a := visitor.Identifier{Kind: visitor.IdentifierEmail, Value: "ada@example.com"}
	b := visitor.Identifier{Kind: visitor.IdentifierVendor, Value: "ada@example.com"}
	ids := map[string]bool{
		string(visitor.NewVisitorID("acme", a)): true, string(visitor.NewVisitorID("globex", a)): true,
		string(visitor.NewVisitorID("acme", b)): true, visitor.HashIdentifier("acme", a): true,
		visitor.HashIdentifier("globex", a): true, visitor.HashIdentifier("acme", b): true,
	}
	if len(ids) != 6 {
		t.Errorf("%d distinct ids of 6: tenant or kind does not count", len(ids))
	}
}
