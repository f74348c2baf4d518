package filter_test

import (
	"testing"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/processor/processortest"
	"github.com/usherhq/usher/internal/filter"
)

func cond(field, op string, value any) map[string]any {
	m := map[string]any{"field": field, "op": op}
	if value != nil {
		m["value"] = value
	}
	return m
}

func TestProcessor(t *testing.T) {
	t.Parallel()

	// The fixture's title is "Co-Founder & CTO"; its country is PT.
	cto := cond("person.title", "contains", "cto")
	ceo := cond("person.title", "contains", "ceo")
	pt := cond("person.location.country_code", "one_of", []any{"pt", "es"})
	dropped := processor.Result{Stop: true}
	settings := func(match, action string, conds ...any) map[string]any {
		s := map[string]any{"conditions": conds}
		if match != "" {
			s["match"] = match
		}
		if action != "" {
			s["action"] = action
		}
		return s
	}
	processortest.Run(t, filter.Processor{}, []processortest.Case{
		{Name: "met is kept by default", Settings: settings("", "", cto)},
		{Name: "not met is dropped by default", Settings: settings("", "", ceo), Want: dropped},
		{Name: "all by default", Settings: settings("", "", cto, ceo), Want: dropped},
		{Name: "all met", Settings: settings("all", "keep", cto, pt)},
		{Name: "any met", Settings: settings("any", "keep", ceo, pt)},
		{Name: "none of any met", Settings: settings("any", "keep", ceo), Want: dropped},
		{Name: "drop met", Settings: settings("all", "drop", cto), Want: dropped},
		{Name: "drop not met", Settings: settings("all", "drop", cto, ceo)},
		{Name: "drop any met", Settings: settings("any", "drop", ceo, cto), Want: dropped},
		{
			Name: "internal traffic by path",
			Settings: settings("any", "drop",
				cond("visit.page_url", "path_under", "/pricing"), cond("person.emails.address", "ends_with", "@example.com")),
			Want: dropped,
		},

		{Name: "conditions missing", WantRefused: "settings.conditions: required"},
		{Name: "conditions empty", Settings: settings("", ""), WantRefused: "settings.conditions: want at least one"},
		{Name: "bad condition", Settings: settings("", "", cto, cond("person.titel", "exists", nil)), WantRefused: "settings.conditions: item 1: field:"},
		{Name: "bad match", Settings: settings("some", "", cto), WantRefused: "settings.match: want one of"},
		{Name: "bad action", Settings: settings("", "hide", cto), WantRefused: "settings.action: want one of"},
		{Name: "unknown setting", Settings: map[string]any{"conditions": []any{cto}, "mode": "x"}, WantRefused: "settings.mode: unknown"},
	})
}

func BenchmarkProcess(b *testing.B) {
	reg := processor.NewRegistry()
	if err := reg.Register(filter.Processor{}); err != nil {
		b.Fatal(err)
	}
	h, err := reg.Configure("filter", map[string]any{"conditions": []any{
		cond("person.title", "contains", "cto"), cond("person.emails.address", "ends_with", "@example.net"),
	}})
	if err != nil {
		b.Fatal(err)
	}
	ev := processortest.Event()
	b.ReportAllocs()
	for b.Loop() {
		if res, err := h.Process(b.Context(), ev); err != nil || res.Stop {
			b.Fatal(res, err)
		}
	}
}
