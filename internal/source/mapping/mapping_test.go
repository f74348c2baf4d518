package mapping_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/jsontree"
	"github.com/usherhq/usher/internal/source/mapping"
)

func tree(t *testing.T, s string) *jsontree.Value {
	t.Helper()
	v, err := jsontree.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                         "",
		"Ada":                      "Ada",
		" \tAda\u00a0 ":            "Ada",
		"Zoe\u0308":                "Zo\u00eb",
		"I\u0307pek":               "\u0130pek", // İ composed
		"\u0130pek":                "\u0130pek",
		"ıI":                       "ıI",
		"a\r\nb\tc\x00d\x1b\u0085": "a  b cd",
		"株式会社":                     "株式会社",
		"\u1112\u1161\u11ab":       "한",
		"שלום\u200f":               "שלום\u200f", // marks of direction are part of the text
	} {
		if got := mapping.Clean(in); got != want {
			t.Errorf("Clean(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

func TestAddEmails(t *testing.T) {
	t.Parallel()
	many := make([]string, 200)
	for i := range many {
		many[i] = `"a` + strconv.Itoa(i) + `@example.com"`
	}
	for _, tt := range []struct {
		name, body string
		want       []visitor.Email
	}{
		{"as sent", `" Ada.L@Example.COM "`, []visitor.Email{{Address: "Ada.L@Example.COM"}}},
		{"mailto", `"mailto:ada@example.com"`, []visitor.Email{{Address: "ada@example.com"}}},
		{"objects", `[{"value":"a@example.com","type":"Work"},{"email":"b@example.com","validity":"Valid"},{"address":"c@example.com","type":"x"}]`,
			[]visitor.Email{
				{Address: "a@example.com", Kind: visitor.EmailProfessional}, {Address: "b@example.com", Validity: "valid"}, {Address: "c@example.com"},
			}},
		{"twice", `["a@example.com",{"value":"A@EXAMPLE.com","type":"personal","validity":"valid"},{"value":"a@example.com","type":"work","validity":"invalid"}]`,
			[]visitor.Email{{Address: "a@example.com", Kind: visitor.EmailPersonal, Validity: "valid"}}},
		{"punycode", `["a@bücher.example","A@BU\u0308CHER.example","a@XN--BCHER-KVA.example"]`,
			[]visitor.Email{{Address: "a@xn--bcher-kva.example"}}},
		{"odd domain stays", `"a@b\u00fc..example"`, []visitor.Email{{Address: "a@bü..example"}}},
		{"no address", `[1,true,null,"","@","a@","@b","ada","a b@example.com",{"value":7},[["a@example.com"]]]`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var p visitor.Person
			mapping.AddEmails(&p, tree(t, tt.body), "")
			if diff := cmp.Diff(tt.want, p.Emails); diff != "" {
				t.Errorf("emails (-want +got):\n%s", diff)
			}
		})
	}
	var p visitor.Person
	mapping.AddEmails(&p, tree(t, "["+strings.Join(many, ",")+"]"), "")
	if len(p.Emails) != 50 {
		t.Errorf("%d emails kept, want 50", len(p.Emails))
	}
}

// One address is one identifier however it is written: composed or not, Unicode or punycode, upper or lower case.
func TestOneIdentifier(t *testing.T) {
	t.Parallel()
	for _, forms := range [][]string{
		{"zo\u00eb@example.com", "zoe\u0308@example.com", "ZO\u00cb@Example.com", "ZOE\u0308@EXAMPLE.COM"},
		{"a@b\u00fccher.example", "a@bu\u0308cher.example", "A@B\u00dcCHER.EXAMPLE", "a@xn--bcher-kva.example", "a@XN--BCHER-KVA.EXAMPLE"},
		{"\u0130pek@example.com", "I\u0307pek@example.com", "\u0130PEK@example.com"},
		{"a@\u0130stanbul.example", "a@I\u0307stanbul.example", "a@i\u0307stanbul.example", "a@xn--istanbul-o0e.example"},
	} {
		var want []visitor.Identifier
		for _, form := range forms {
			var ev visitor.Event
			mapping.AddEmails(&ev.Person, tree(t, strconv.Quote(form)), "")
			got := ev.Identifiers()
			if want == nil {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" || len(got) != 1 {
				t.Errorf("%+q and %+q differ (-first +this):\n%s", forms[0], form, diff)
			}
		}
	}
	// Normalising keeps the letter: İ is not replaced by I, i or ı.
	var ev visitor.Event
	mapping.AddEmails(&ev.Person, tree(t, `"I\u0307pek@example.com"`), "")
	if got := ev.Person.Emails[0].Address; got != "\u0130pek@example.com" {
		t.Errorf("address = %+q", got)
	}
}

func TestAddPhones(t *testing.T) {
	t.Parallel()
	var p visitor.Person
	mapping.AddPhones(&p, tree(t, `["+15550100",15550101,{"number":"+15550102","type":"Mobile"},"+15550100",true,null,"",[["1"]]]`), "work")
	want := []visitor.Phone{{Number: "+15550100", Kind: "work"}, {Number: "15550101", Kind: "work"}, {Number: "+15550102", Kind: "mobile"}}
	if diff := cmp.Diff(want, p.Phones); diff != "" {
		t.Errorf("phones (-want +got):\n%s", diff)
	}
}

func TestPagesKeepsTheFirst(t *testing.T) {
	t.Parallel()
	const n = visitor.MaxPages + 50
	var b strings.Builder
	for i := range n {
		b.WriteString(`,{"signal":"pageview","url":"https://example.com/` + strconv.Itoa(i) + `","ts":1739571908123}`)
	}
	var visit visitor.Visit
	mapping.Pages(&visit, tree(t, `[{"signal":"outlink","url":"https://example.com/"},{"signal":"pageview"},3`+b.String()+`]`))
	if len(visit.Pages) != visitor.MaxPages || visit.PagesViewed != n {
		t.Errorf("%d pages of %d views, want %d of %d", len(visit.Pages), visit.PagesViewed, visitor.MaxPages, n)
	}
	want := visitor.Page{URL: "https://example.com/0", Signal: "pageview", At: time.UnixMilli(1739571908123).UTC()}
	if diff := cmp.Diff(want, visit.Pages[1]); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	start := time.Date(2025, 2, 14, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		known      float64
		start, end time.Time
		want       float64
	}{
		{0, start, start.Add(90 * time.Second), 90},
		{5, start, start.Add(90 * time.Second), 5},
		{0, start, start.Add(-time.Second), 0},
		{0, time.Time{}, start, 0},
		{0, start, time.Time{}, 0},
	} {
		visit := visitor.Visit{DurationSeconds: tt.known}
		mapping.Duration(&visit, tt.start, tt.end)
		if visit.DurationSeconds != tt.want {
			t.Errorf("Duration(%v, %v) = %v, want %v", tt.start, tt.end, visit.DurationSeconds, tt.want)
		}
	}
}

func TestEnrichmentNeverMixesCompanies(t *testing.T) {
	t.Parallel()
	ev := visitor.Event{Company: visitor.Company{Name: "Old", Domain: "old.example", Industry: "Coal"}}
	mapping.Enrichment(&ev, tree(t, `{"companies":[{"name":"New","domain":"new.example"}]}`))
	if diff := cmp.Diff(visitor.Company{Name: "New", Domain: "new.example"}, ev.Company); diff != "" {
		t.Errorf("company (-want +got):\n%s", diff)
	}
	mapping.Enrichment(&ev, tree(t, `{"companies":[{"name":"NEW","domain":"other.example","industry":"Software"},{"name":"Third"}]}`))
	want := visitor.Company{Name: "New", Domain: "new.example", Industry: "Software"}
	if diff := cmp.Diff(want, ev.Company); diff != "" {
		t.Errorf("company (-want +got):\n%s", diff)
	}
}

func TestVisitHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		visit visitor.Visit
		want  string
	}{
		{visitor.Visit{}, ""},
		{visitor.Visit{PageURL: "/pricing", LandingPage: "https://www.example.com/"}, "example.com"},
		{visitor.Visit{PageURL: "https://a..b/", Pages: []visitor.Page{{URL: "https://example.com/"}}}, "example.com"},
		{visitor.Visit{PageURL: "pricing.html"}, ""},
	} {
		if got := mapping.VisitHost(&tt.visit); got != tt.want {
			t.Errorf("VisitHost = %q, want %q", got, tt.want)
		}
	}
}
