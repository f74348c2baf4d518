package processor_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

var errConfigure = errors.New("cannot be configured")

// fake is a processor whose handler counts under its label; the label "bad" cannot be configured.
type fake struct{ reg processor.Registration }

func (f fake) Register() processor.Registration { return f.reg }

func (f fake) Configure(s processor.Settings) (processor.Handler, error) {
	label := s.Text("label")
	if label == "bad" {
		return nil, errConfigure
	}
	return processor.HandlerFunc(func(context.Context, *visitor.Event) (processor.Result, error) {
		return processor.Result{Effects: []processor.Effect{processor.Count{Name: label, N: 1}}}, nil
	}), nil
}

func named(name string) fake {
	reg := registration(processor.Setting{ID: "label", Type: processor.Text, Default: "seen"})
	reg.Name = name
	return fake{reg}
}

func TestRegistry_Register(t *testing.T) {
	t.Parallel()

	r := processor.NewRegistry()
	for _, name := range []string{"b", "a"} {
		if err := r.Register(named(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Register(named("a")); err == nil || !strings.Contains(err.Error(), "name is taken") {
		t.Errorf("registering a name twice = %v, want an error", err)
	}
	if err := r.Register(named("Not a name")); err == nil || !strings.Contains(err.Error(), "name: want") {
		t.Errorf("registering a bad description = %v, want an error", err)
	}
	var got []string
	for _, reg := range r.Registrations() {
		got = append(got, reg.Name)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("Registrations by name (-want +got):\n%s", diff)
	}
}

func TestRegistry_Configure(t *testing.T) {
	t.Parallel()

	r := processor.NewRegistry()
	if err := r.Register(named("demo")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		proc    string
		given   map[string]any
		want    string // the label
		wantErr string
		wantIs  error
	}{
		{name: "default", proc: "demo", want: "seen"},
		{name: "given", proc: "demo", given: map[string]any{"label": "mine"}, want: "mine"},
		{name: "unknown name", proc: "other", wantErr: `unknown processor "other" (known: [demo])`, wantIs: processor.ErrUnknown},
		{name: "refused by check", proc: "demo", given: map[string]any{"x": 1}, wantErr: `processor "demo": settings.x: unknown setting`},
		{name: "refused by processor", proc: "demo", given: map[string]any{"label": "bad"}, wantErr: `processor "demo": cannot`, wantIs: errConfigure},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			h, err := r.Configure(tc.proc, tc.given)
			if tc.wantErr != "" {
				wantErrors(t, err, []string{tc.wantErr})
				if tc.wantIs != nil && !errors.Is(err, tc.wantIs) {
					t.Errorf("error %v is not %v", err, tc.wantIs)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			res, err := h.Process(t.Context(), &visitor.Event{})
			if err != nil {
				t.Fatal(err)
			}
			want := processor.Result{Effects: []processor.Effect{processor.Count{Name: tc.want, N: 1}}}
			if diff := cmp.Diff(want, res); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()

	cause := errors.New("cause")
	permanent := processor.Permanent(cause)
	if !errors.Is(permanent, cause) || permanent.Error() != "cause" {
		t.Errorf("permanent error %v hides its cause", permanent)
	}
	wrapped := errors.Join(errors.New("other"), permanent)
	if !processor.IsPermanent(permanent) || !processor.IsPermanent(wrapped) {
		t.Error("IsPermanent does not see a permanent error")
	}
	if processor.IsPermanent(cause) || processor.IsPermanent(nil) {
		t.Error("IsPermanent sees a permanent error where there is none")
	}
}

func TestResult_Validate(t *testing.T) {
	t.Parallel()

	tests := []struct {
		name    string
		effects []processor.Effect
		wantErr []string
	}{
		{"none", nil, nil},
		{
			"every kind",
			[]processor.Effect{
				processor.Record{}, processor.MergeVisitor{}, processor.Meter{}, processor.AddScore{Name: "fit", Points: -3},
				processor.Count{Name: "seen", N: 1}, processor.Count{Name: "fresh", N: 1, When: processor.IfFirstMatch},
			},
			nil,
		},
		{
			"all problems at once",
			[]processor.Effect{
				nil, processor.AddScore{Name: "a.b"}, processor.Count{Name: ""}, processor.Count{Name: "ok", When: 9}, &processor.Meter{},
			},
			[]string{
				"effects[0]: unknown effect", "effects[1]: name: want", "effects[2]: name: want", "effects[3]: when: unknown",
				"effects[4]: unknown effect *processor.Meter",
			},
		},
		{"too many", make51(), []string{"effects: over 50"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			wantErrors(t, processor.Result{Effects: tc.effects}.Validate(), tc.wantErr)
		})
	}
}

func make51() []processor.Effect {
	out := make([]processor.Effect, processor.MaxEffects+1)
	for i := range out {
		out[i] = processor.Meter{}
	}
	return out
}
