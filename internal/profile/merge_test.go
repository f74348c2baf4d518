package profile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/store"
)

var day = time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)

// at makes an event of one visitor, identified and received at the given time.
func at(id string, when time.Time, change func(*visitor.Event)) *visitor.Event {
	ev := &visitor.Event{
		Schema: visitor.Schema, ID: visitor.EventID("evt_" + id), Type: visitor.TypeVisitorIdentified,
		TenantID: "t1", VisitorID: "vis_a", Source: "midbound", Origin: visitor.OriginWebhook,
		IdentifiedAt: when, Receipt: visitor.Receipt{ReceivedAt: when},
	}
	if change != nil {
		change(ev)
	}
	return ev
}

// merge merges events in order, storing and loading the visitor before those whose index is in reload.
func merge(events []*visitor.Event, reload ...int) *Visitor {
	v := Load(store.Doc{})
	for i, ev := range events {
		if slices.Contains(reload, i) {
			v = Load(store.Doc{Exists: true, Fields: v.Fields(day)})
		}
		v.Merge(ev, ev.ID)
	}
	return Load(store.Doc{Exists: true, Fields: v.Fields(day)})
}

// document is what is stored, without what does depend on order: the latest commits.
func document(v *Visitor) store.Fields {
	return slices.DeleteFunc(v.Fields(day), func(f store.Field) bool { return f.Name == "recent" })
}

func genText(values ...string) *rapid.Generator[string] {
	return rapid.SampledFrom(append(values, "", ""))
}

var genBool = rapid.SampledFrom([]*bool{nil, new(bool), func() *bool { t := true; return &t }()})

func genEmail(t *rapid.T) visitor.Email {
	return visitor.Email{
		Address:  genText("Ada@example.com", "ada@EXAMPLE.com").Draw(t, "same") + fmt.Sprintf("%02d", rapid.IntRange(0, 40).Draw(t, "n")),
		Kind:     rapid.SampledFrom([]visitor.EmailKind{"", visitor.EmailPersonal, visitor.EmailProfessional}).Draw(t, "kind"),
		Validity: genText("valid", "invalid").Draw(t, "validity"),
	}
}

func genPhone(t *rapid.T) visitor.Phone {
	n := rapid.IntRange(0, 30).Draw(t, "phone")
	return visitor.Phone{Number: fmt.Sprintf("+155501%02d", n), Kind: genText("work", "mobile").Draw(t, "kind")}
}

// genTime draws from few times, so that many are equal, and some impossible ones.
func genTime(t *rapid.T, label string) time.Time {
	if rapid.IntRange(0, 9).Draw(t, label) == 0 {
		return rapid.SampledFrom([]time.Time{{}, day.AddDate(50, 0, 0), time.Unix(0, 0)}).Draw(t, label)
	}
	return day.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, label)) * 5 * time.Minute)
}

func genEvent(t *rapid.T) *visitor.Event {
	received := day.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "received")) * time.Minute)
	return at("", received, func(ev *visitor.Event) {
		ev.Stage = rapid.SampledFrom(append(slices.Clone(stages), "some later stage")).Draw(t, "stage")
		ev.Source = rapid.SampledFrom([]string{"midbound", "leadpipe", "mdb_legacy"}).Draw(t, "source")
		ev.IdentifiedAt = genTime(t, "identified")
		ev.Person = visitor.Person{
			FirstName: genText("Ada", "Adele").Draw(t, "first"), Title: genText("Engineer", "Lead").Draw(t, "title"),
			LinkedInURL:  genText("https://linkedin.com/in/ada-example").Draw(t, "linkedin"),
			Emails:       rapid.SliceOfN(rapid.Custom(genEmail), 0, 4).Draw(t, "emails"),
			Phones:       rapid.SliceOfN(rapid.Custom(genPhone), 0, 4).Draw(t, "phones"),
			Demographics: visitor.Demographics{IsMarried: genBool.Draw(t, "married"), AgeMin: rapid.IntRange(0, 2).Draw(t, "age")},
		}
		ev.Company = visitor.Company{Name: genText("Example Ltd", "Example GmbH").Draw(t, "company")}
		ev.Visit = visitor.Visit{
			PageURL: genText("https://example.com/a", "https://example.com/b").Draw(t, "page"),
			Pages:   make([]visitor.Page, rapid.IntRange(0, 2).Draw(t, "pages")), IsReturn: genBool.Draw(t, "return"),
			DurationSeconds: rapid.SampledFrom([]float64{0, 1.5, 60}).Draw(t, "duration"),
		}
		ev.Session = visitor.Session{
			Host:      genText("example.com", "www.example.com").Draw(t, "host"),
			StartedAt: genTime(t, "start"), EndedAt: genTime(t, "end"), LastActivityAt: genTime(t, "last"),
		}
		ev.Attribution.CustomAttributes = rapid.SampledFrom([]map[string]any{
			nil, {}, {"plan": "pro"}, {"plan": "free", "grid": []any{[]any{1.0}}},
		}).Draw(t, "attributes")
		ev.Consent.IsEU = genBool.Draw(t, "eu")
	})
}

// TestMergeIsCommutative is the promise of the package: whatever the order, and wherever the profile is
// stored and loaded in between, the same events give the same document.
func TestMergeIsCommutative(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(genEvent), 1, 45).Draw(t, "events")
		for i, ev := range events {
			ev.ID = visitor.EventID(fmt.Sprintf("evt_%d", i))
		}
		want := merge(events)
		other := rapid.Permutation(events).Draw(t, "order")
		got := merge(other, rapid.SliceOfN(rapid.IntRange(0, len(events)), 0, len(events)).Draw(t, "reload")...)
		if d := cmp.Diff(document(want), document(got)); d != "" {
			t.Fatalf("another order gives another profile (-want +got):\n%s", d)
		}
		checkBounds(t, want)
		if want.Events != int64(len(events)) || want.FirstSeen.After(want.LastSeen) {
			t.Fatalf("events %d of %d, seen %v to %v", want.Events, len(events), want.FirstSeen, want.LastSeen)
		}
	})
}

func checkBounds(t interface{ Errorf(string, ...any) }, v *Visitor) {
	if n := len(v.state.stamps); n > len(leaves)+3*maxEmails+maxPhones {
		t.Errorf("stamps: %d", n)
	}
	for what, over := range map[string]bool{
		"emails": len(v.Person.Emails) > maxEmails, "phones": len(v.Person.Phones) > maxPhones,
		"identifiers": len(v.Identifiers) > maxIdentifiers, "sources": len(v.Sources) > maxSources,
		"recent": len(v.recent) > maxRecent, "touches": len(v.state.touches) > maxTouches,
	} {
		if over {
			t.Errorf("%s: over the bound", what)
		}
	}
}

// TestStateIsBounded sends what a hostile or broken vendor could: everything new in each event.
func TestStateIsBounded(t *testing.T) {
	t.Parallel()
	v := Load(store.Doc{})
	for i := range 500 {
		v.Merge(at(fmt.Sprint(i), day.Add(time.Duration(i)*time.Hour), func(ev *visitor.Event) {
			ev.Source = fmt.Sprintf("source%03d", i)
			ev.Session.VendorVisitor = fmt.Sprint(i)
			for j := range 5 {
				ev.Person.Emails = append(ev.Person.Emails, visitor.Email{Address: fmt.Sprintf("a%d.%d@example.com", i, j), Kind: "personal", Validity: "valid"})
				ev.Person.Phones = append(ev.Person.Phones, visitor.Phone{Number: fmt.Sprintf("+1555010%d.%d", i, j), Kind: "work"})
			}
		}), visitor.EventID(fmt.Sprint(i)))
	}
	checkBounds(t, v)
	size, err := store.CheckWrite(&store.Write{Path: "c/d", Fields: v.Fields(day)})
	if err != nil || size > 16<<10 {
		t.Errorf("document of %d bytes: %v", size, err)
	}
	if v.Events != 500 {
		t.Errorf("events = %d", v.Events)
	}
}

func TestScalars(t *testing.T) {
	t.Parallel()
	title := func(id string, minute int, stage visitor.Stage, title string) *visitor.Event {
		return at(id, day.Add(time.Duration(minute)*time.Minute), func(ev *visitor.Event) {
			ev.Stage, ev.Person.Title, ev.Attribution.PageID = stage, title, title
		})
	}
	tests := []struct {
		name       string
		events     []*visitor.Event
		want, page string
	}{
		{"later wins", []*visitor.Event{title("a", 0, "", "Engineer"), title("b", 1, "", "Lead")}, "Lead", "Lead"},
		{"empty never wins", []*visitor.Event{title("a", 0, "", "Engineer"), title("b", 1, "", "")}, "Engineer", "Engineer"},
		{
			"resolved never undoes enriched",
			[]*visitor.Event{title("a", 0, visitor.StageEnriched, "Lead"), title("b", 1, visitor.StageResolved, "Engineer")},
			"Lead", "Engineer",
		},
		{
			"nor does qualified",
			[]*visitor.Event{title("a", 0, visitor.StageEnriched, "Lead"), title("b", 1, visitor.StageQualified, "Engineer")},
			"Lead", "Engineer",
		},
		{
			"a vendor without stages is as good as enriched",
			[]*visitor.Event{title("a", 0, visitor.StageEnriched, "Lead"), title("b", 1, "", "Engineer")}, "Engineer", "Engineer",
		},
		{
			"validated and enriched go by time",
			[]*visitor.Event{title("a", 0, visitor.StageValidated, "Lead"), title("b", 1, visitor.StageEnriched, "Engineer")},
			"Engineer", "Engineer",
		},
		{
			"resolved fills what enriched left empty",
			[]*visitor.Event{title("a", 0, visitor.StageEnriched, ""), title("b", 1, visitor.StageResolved, "Engineer")},
			"Engineer", "Engineer",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			backwards := slices.Clone(tt.events)
			slices.Reverse(backwards)
			for _, order := range [][]*visitor.Event{tt.events, backwards} {
				v := merge(order, 1)
				if v.Person.Title != tt.want || v.Attribution.PageID != tt.page {
					t.Errorf("title %q, page %q; want %q, %q", v.Person.Title, v.Attribution.PageID, tt.want, tt.page)
				}
			}
		})
	}
}

func TestEmptyMapNeverWins(t *testing.T) {
	t.Parallel()
	v := merge([]*visitor.Event{
		at("a", day, func(ev *visitor.Event) { ev.Attribution.CustomAttributes = map[string]any{"plan": "pro"} }),
		at("b", day.Add(time.Minute), func(ev *visitor.Event) { ev.Attribution.CustomAttributes = map[string]any{} }),
	})
	if d := cmp.Diff(map[string]any{"plan": "pro"}, v.Attribution.CustomAttributes); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestStageOfProfileNeverGoesBack(t *testing.T) {
	t.Parallel()
	v := merge([]*visitor.Event{
		at("a", day, func(ev *visitor.Event) { ev.Stage = visitor.StageEnriched }),
		at("b", day, func(ev *visitor.Event) { ev.Stage = visitor.StageResolved }),
		at("c", day, func(ev *visitor.Event) { ev.Stage = "unheard of" }),
		at("d", day, nil),
	})
	if v.Stage != visitor.StageEnriched {
		t.Errorf("stage = %q", v.Stage)
	}
}

func TestImpossibleTimesGiveWayToTheReceipt(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]time.Time{
		"unset": {}, "too early": time.Date(2014, 12, 31, 0, 0, 0, 0, time.UTC), "ahead": day.Add(5*time.Minute + time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := merge([]*visitor.Event{at("a", day, func(ev *visitor.Event) {
				ev.IdentifiedAt, ev.Session.StartedAt, ev.Session.EndedAt = bad, bad, bad
			})})
			if !v.FirstSeen.Equal(day) || !v.LastSeen.Equal(day) {
				t.Errorf("seen %v to %v, want %v", v.FirstSeen, v.LastSeen, day)
			}
			if w := (touch{day.UnixMicro(), day.UnixMicro(), v.state.touches[0].site}); v.state.touches[0] != w {
				t.Errorf("touch = %v, want %v", v.state.touches[0], w)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	mail := func(id string, minute int, stage visitor.Stage, m ...visitor.Email) *visitor.Event {
		return at(id, day.Add(time.Duration(minute)*time.Minute), func(ev *visitor.Event) { ev.Stage, ev.Person.Emails = stage, m })
	}
	v := merge([]*visitor.Event{
		mail("b", 2, "", visitor.Email{Address: "Ada@Example.com", Validity: "valid"}),
		mail("a", 1, "", visitor.Email{Address: "ada@example.com", Kind: visitor.EmailPersonal, Validity: "invalid"}, visitor.Email{}),
		mail("c", 3, visitor.StageResolved, visitor.Email{Address: "ADA@example.com", Kind: visitor.EmailProfessional}),
	})
	want := []visitor.Email{{Address: "Ada@Example.com", Kind: visitor.EmailPersonal, Validity: "valid"}}
	if d := cmp.Diff(want, v.Person.Emails); d != "" {
		t.Errorf("emails (-want +got):\n%s", d)
	}
	if len(v.Identifiers) != 1 {
		t.Errorf("identifiers = %v: one address in any case is one", v.Identifiers)
	}
}

func TestRecentAndScores(t *testing.T) {
	t.Parallel()
	v := Load(store.Doc{})
	for i := range maxRecent + 2 {
		v.Merge(at("x", day, nil), visitor.EventID(fmt.Sprint(i)))
	}
	v.AddScore("fit", 3)
	v.AddScore("fit", -1)
	v = Load(store.Doc{Exists: true, Fields: v.Fields(day)})
	if n := len(v.recent); n != maxRecent || v.recent[0] != "2" || v.recent[n-1] != visitor.EventID(fmt.Sprint(maxRecent+1)) {
		t.Errorf("recent = %v", v.recent)
	}
	if v.Scores["fit"] != 2 {
		t.Errorf("scores = %v", v.Scores)
	}
	if got := v.Fields(day).Time("expire_at"); !got.Equal(day) {
		t.Errorf("expire_at = %v", got)
	}
	if strings.Contains(fmt.Sprint(v.Identifiers), "example.com") {
		t.Error("identifiers are not hashed")
	}
}

func BenchmarkMerge(b *testing.B) {
	ev := func(i int) *visitor.Event {
		return at(fmt.Sprint(i), day.Add(time.Duration(i)*time.Minute), func(ev *visitor.Event) {
			ev.Stage = visitor.StageEnriched
			ev.Person = visitor.Person{
				FirstName: "Ada", LastName: "Example", FullName: "Ada Example", Title: "Engineer", LinkedInURL: "https://linkedin.com/in/ada-example",
				Emails:   []visitor.Email{{Address: "ada@example.com", Kind: visitor.EmailProfessional}, {Address: "ada@example.org", Kind: visitor.EmailPersonal}},
				Phones:   []visitor.Phone{{Number: "+15550100", Kind: "work"}},
				Location: visitor.Location{City: "Exampleton", CountryCode: "GB"},
			}
			ev.Company = visitor.Company{Name: "Example Ltd", Domain: "example.com", Industry: "Software", EmployeeCount: "11-50"}
			ev.Visit = visitor.Visit{PageURL: "https://example.com/a", Referrer: "https://example.org/", PagesViewed: 3, DurationSeconds: 60}
			ev.Session = visitor.Session{ID: "s1", Host: "example.com", StartedAt: day}
			ev.Attribution = visitor.Attribution{PageID: "p1", CampaignID: "c1", UTM: visitor.UTM{Source: "news", Medium: "email"}}
		})
	}
	v := merge([]*visitor.Event{ev(0), ev(1), ev(2)})
	doc := store.Doc{Exists: true, Fields: v.Fields(day)}
	next := ev(3)
	b.ReportAllocs()
	for b.Loop() {
		v := Load(doc)
		v.Merge(next, next.ID)
		v.Fields(day)
	}
}

// TestLongTexts: what would make profiles outgrow a document is cut or left out, in whatever order events come.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 2000)
	events := []*visitor.Event{
		at("1", day, func(ev *visitor.Event) {
			ev.Person.Title, ev.Person.FirstName = long, "Ada"
			ev.Person.Emails = []visitor.Email{{Address: "ada@example.com", Validity: long}, {Address: long + "@example.com"}}
			ev.Person.Phones = []visitor.Phone{{Number: "+15550100", Kind: long}, {Number: long}}
			ev.Attribution.ExtraOptions = map[string]any{"a": "b", "c": []any{1.5, map[string]any{"d": long}}}
		}),
		at("2", day.Add(time.Hour), func(ev *visitor.Event) {
			ev.Attribution.ExtraOptions = map[string]any{"a": []any{map[string]any{"b": strings.Repeat(long, 17)}}}
		}),
	}
	v := merge(events)
	cut := strings.Repeat("é", 1024)
	if v.Person.Title != cut || v.Person.FirstName != "Ada" || len(v.Attribution.ExtraOptions) != 2 ||
		len(v.Person.Emails) != 1 || v.Person.Emails[0].Validity != cut || len(v.Person.Phones) != 1 || v.Person.Phones[0].Kind != cut {
		t.Errorf("title of %d bytes, %d addresses, %d phones, options %d",
			len(v.Person.Title), len(v.Person.Emails), len(v.Person.Phones), len(v.Attribution.ExtraOptions))
	}
	slices.Reverse(events)
	if d := cmp.Diff(document(v), document(merge(events))); d != "" {
		t.Errorf("backwards (-want +got):\n%s", d)
	}
}
