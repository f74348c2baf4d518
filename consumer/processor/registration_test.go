package processor_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
)

func registration(settings ...processor.Setting) processor.Registration {
	return processor.Registration{Name: "demo", Version: "1.0.0", Title: "Demo", Description: "Does nothing.", Settings: settings}
}

func TestRegistration_Validate(t *testing.T) {
	t.Parallel()

	with := func(change func(*processor.Registration)) processor.Registration {
		r := registration()
		change(&r)
		return r
	}
	tests := []struct {
		name    string
		reg     processor.Registration
		wantErr []string
	}{
		{"complete", registration(processor.Setting{ID: "a", Type: processor.Text, Default: "x", OneOf: []string{"x"}}), nil},
		{"empty", processor.Registration{}, []string{"name: want", "version: missing", "title: missing", "description: missing"}},
		{"name in capitals", with(func(r *processor.Registration) { r.Name = "Demo" }), []string{"name: want"}},
		{"name with a dot", with(func(r *processor.Registration) { r.Name = "a.b" }), []string{"name: want"}},
		{"name too long", with(func(r *processor.Registration) { r.Name = strings.Repeat("a", 64) }), []string{"name: want"}},
		{
			"setting without id",
			registration(processor.Setting{Type: processor.Text}),
			[]string{"settings.: bad or repeated id"},
		},
		{
			"setting twice",
			registration(processor.Setting{ID: "a", Type: processor.Text}, processor.Setting{ID: "a", Type: processor.Integer}),
			[]string{"settings.a: bad or repeated id"},
		},
		{
			"unknown type",
			registration(processor.Setting{ID: "a", Type: "hue", Default: "red"}),
			[]string{"settings.a: unknown type"},
		},
		{
			"default of another type",
			registration(processor.Setting{ID: "a", Type: processor.Integer, Default: "1"}),
			[]string{"settings.a: default: want integer"},
		},
		{
			"default outside the choice",
			registration(processor.Setting{ID: "a", Type: processor.Text, Default: "z", OneOf: []string{"x", "y"}}),
			[]string{"settings.a: default: want one of"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			wantErrors(t, tc.reg.Validate(), tc.wantErr)
		})
	}
}

func TestRegistration_Check(t *testing.T) {
	t.Parallel()

	reg := registration(
		processor.Setting{ID: "text", Type: processor.Text, Default: "all", OneOf: []string{"all", "any"}},
		processor.Setting{ID: "free", Type: processor.Text},
		processor.Setting{ID: "number", Type: processor.Integer, Default: 7},
		processor.Setting{ID: "flag", Type: processor.Boolean},
		processor.Setting{ID: "rules", Type: processor.List, Required: true},
	)
	rules := []map[string]any{{"a": 1}}
	base := processor.Settings{"text": "all", "number": int64(7), "rules": rules}
	with := func(id string, v any) processor.Settings {
		out := processor.Settings{id: v}
		for k, v := range base {
			if _, ok := out[k]; !ok {
				out[k] = v
			}
		}
		return out
	}
	tests := []struct {
		name    string
		given   map[string]any
		want    processor.Settings
		wantErr []string
	}{
		{"defaults", map[string]any{"rules": rules}, base, nil},
		{"null is unset", map[string]any{"rules": rules, "number": nil, "flag": nil}, base, nil},
		{"text", map[string]any{"rules": rules, "text": "any"}, with("text", "any"), nil},
		{"int", map[string]any{"rules": rules, "number": 3}, with("number", int64(3)), nil},
		{"int64", map[string]any{"rules": rules, "number": int64(-3)}, with("number", int64(-3)), nil},
		{"whole float", map[string]any{"rules": rules, "number": 3.0}, with("number", int64(3)), nil},
		{"flag", map[string]any{"rules": rules, "flag": false}, with("flag", false), nil},
		{"list as decoded from JSON", map[string]any{"rules": []any{map[string]any{"a": 1}}}, base, nil},
		{"required missing", nil, nil, []string{"settings.rules: required"}},
		{"required null", map[string]any{"rules": nil}, nil, []string{"settings.rules: required"}},
		{
			"everything wrong",
			map[string]any{"text": "none", "free": 1, "number": 1.5, "flag": "yes", "rules": "x", "zzz": 1, "aaa": 2},
			nil,
			[]string{
				"settings.text: want one of", "settings.free: want text", "settings.number: want integer",
				"settings.flag: want boolean", "settings.rules: want list",
				"settings.aaa: unknown setting\nsettings.zzz: unknown setting",
			},
		},
		{"float too large", map[string]any{"rules": rules, "number": 1e300}, nil, []string{"settings.number: want integer"}},
		{"number as text", map[string]any{"rules": rules, "number": "3"}, nil, []string{"settings.number: want integer"}},
		{"list of texts", map[string]any{"rules": []any{map[string]any{}, "x"}}, nil, []string{"settings.rules: item 1: want object"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			got, err := reg.Check(tc.given)
			wantErrors(t, err, tc.wantErr)
			if tc.wantErr != nil {
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegistration_Check_leavesGivenAlone(t *testing.T) {
	t.Parallel()

	given := map[string]any{"n": 1.0}
	if _, err := registration(processor.Setting{ID: "n", Type: processor.Integer}).Check(given); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"n": 1.0}, given); diff != "" {
		t.Errorf("Check changed what it was given (-want +got):\n%s", diff)
	}
}

func TestRegistration_Check_unknownType(t *testing.T) {
	t.Parallel()

	_, err := registration(processor.Setting{ID: "a", Type: "hue"}).Check(map[string]any{"a": "red"})
	wantErrors(t, err, []string{"settings.a: want hue"})
}

func TestSettings(t *testing.T) {
	t.Parallel()

	s := processor.Settings{"t": "x", "i": int64(3), "b": true, "l": []map[string]any{{"a": 1}}}
	if s.Text("t") != "x" || s.Integer("i") != 3 || !s.Boolean("b") || len(s.List("l")) != 1 {
		t.Errorf("typed getters do not return what is set: %v", s)
	}
	if s.Text("none") != "" || s.Integer("t") != 0 || s.Boolean("t") || s.List("t") != nil {
		t.Error("typed getters must return zero values for what is unset or of another type")
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()

	for s, want := range map[string]bool{
		"a": true, "lead_score_2": true, strings.Repeat("a", 63): true,
		"": false, "_a": false, "2a": false, "A": false, "a-b": false, "a.b": false, "a b": false, "é": false, "a\n": false,
		strings.Repeat("a", 64): false,
	} {
		if got := processor.ValidName(s); got != want {
			t.Errorf("ValidName(%q) = %v, want %v", s, got, want)
		}
	}
}

// wantErrors checks that err holds every text, and is nil when there are none.
func wantErrors(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 && err != nil {
		t.Errorf("error = %v, want none", err)
	}
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error = %v, want %q in it", err, w)
		}
	}
}
