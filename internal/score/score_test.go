package score_test

import (
	"strings"
	"testing"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/processor/processortest"
	"github.com/usherhq/usher/internal/score"
)

func rule(points any, field, op string, value any) map[string]any {
	when := map[string]any{"field": field, "op": op}
	if value != nil {
		when["value"] = value
	}
	return map[string]any{"when": when, "points": points}
}

func TestProcessor(t *testing.T) {
	t.Parallel()

	// The fixture's title is "Co-Founder & CTO", of a software company.
	cto := func(points any) map[string]any { return rule(points, "person.title", "contains", "cto") }
	software := rule(int64(5), "company.industry", "equals", "SOFTWARE")
	student := rule(-50.0, "person.title", "contains", "student")
	adds := func(name string, points int64) processor.Result {
		return processor.Result{Effects: []processor.Effect{processor.AddScore{Name: name, Points: points}}}
	}
	rules := func(list ...any) map[string]any { return map[string]any{"rules": list} }
	processortest.Run(t, score.Processor{}, []processortest.Case{
		{Name: "one rule", Settings: rules(cto(10)), Want: adds("score", 10)},
		{Name: "sum of those met", Settings: rules(cto(10), software, student), Want: adds("score", 15)},
		{Name: "negative", Settings: rules(cto(-3.0)), Want: adds("score", -3)},
		{Name: "none met", Settings: rules(student)},
		{Name: "sum of zero", Settings: rules(cto(-5), software)},
		{
			Name:     "named",
			Settings: map[string]any{"name": "fit_2026", "rules": []any{cto(1)}},
			Want:     adds("fit_2026", 1),
		},
		{Name: "largest", Settings: rules(cto(score.MaxPoints)), Want: adds("score", score.MaxPoints)},

		{Name: "rules missing", WantRefused: "settings.rules: required"},
		{Name: "rules empty", Settings: rules(), WantRefused: "settings.rules: want at least one"},
		{Name: "bad name", Settings: map[string]any{"name": "a.b", "rules": []any{cto(1)}}, WantRefused: "settings.name: want"},
		{Name: "points missing", Settings: rules(cto(nil)), WantRefused: "settings.rules: item 0: points: want a whole number"},
		{Name: "points zero", Settings: rules(cto(0)), WantRefused: "points: want"},
		{Name: "points broken", Settings: rules(cto(1.5)), WantRefused: "points: want"},
		{Name: "points as text", Settings: rules(cto("1")), WantRefused: "points: want"},
		{Name: "points too many", Settings: rules(cto(score.MaxPoints + 1)), WantRefused: "points: want"},
		{Name: "points too few", Settings: rules(cto(int64(-score.MaxPoints - 1))), WantRefused: "points: want"},
		{Name: "points far too many", Settings: rules(cto(1e300)), WantRefused: "points: want"},
		{Name: "no condition", Settings: rules(cto(1), map[string]any{"points": 1}), WantRefused: "item 1: when: want a condition"},
		{Name: "bad condition", Settings: rules(rule(1, "person.titel", "exists", nil)), WantRefused: "item 0: when: field:"},
		{
			Name:        "unknown key",
			Settings:    rules(map[string]any{"when": cto(1)["when"], "points": 1, "weight": 2}),
			WantRefused: "item 0: weight: unknown key",
		},
	})
}

func TestProcessor_allProblemsAtOnce(t *testing.T) {
	t.Parallel()

	_, err := score.Processor{}.Configure(processor.Settings{
		"name": "Not a name",
		"rules": []map[string]any{
			{"points": 0.5, "x": 1},
			rule(1, "person.title", "is", nil),
		},
	})
	for _, want := range []string{
		"settings.name:", "item 0: x: unknown key", "points: want", "when: want a condition", "item 1: when: op: want one of",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Configure = %v, want %q in it", err, want)
		}
	}
}

func BenchmarkProcess(b *testing.B) {
	reg := processor.NewRegistry()
	if err := reg.Register(score.Processor{}); err != nil {
		b.Fatal(err)
	}
	h, err := reg.Configure("score", map[string]any{"rules": []any{
		rule(10, "person.title", "contains", "cto"), rule(5, "company.industry", "equals", "software"),
	}})
	if err != nil {
		b.Fatal(err)
	}
	ev := processortest.Event()
	b.ReportAllocs()
	for b.Loop() {
		if res, err := h.Process(b.Context(), ev); err != nil || len(res.Effects) != 1 {
			b.Fatal(res, err)
		}
	}
}
