package processortest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

// fake is a processor made of its parts; a nil part behaves well.
type fake struct {
	register  func() processor.Registration
	configure func(processor.Settings) (processor.Handler, error)
	process   processor.HandlerFunc
}

func (f fake) Register() processor.Registration {
	if f.register != nil {
		return f.register()
	}
	return processor.Registration{
		Name: "fake", Version: "1.0.0", Title: "Fake", Description: "For tests.",
		Settings: []processor.Setting{
			{ID: "name", Type: processor.Text, Description: "Name of the counter.", Default: "seen"},
			{ID: "rules", Type: processor.List, Description: "Rules."},
		},
	}
}

func (f fake) Configure(s processor.Settings) (processor.Handler, error) {
	if f.configure != nil {
		return f.configure(s)
	}
	if f.process != nil {
		return f.process, nil
	}
	return processor.HandlerFunc(func(context.Context, *visitor.Event) (processor.Result, error) {
		return counted(s.Text("name")), nil
	}), nil
}

func counted(name string) processor.Result {
	return processor.Result{Effects: []processor.Effect{processor.Count{Name: name, N: 1}}}
}

func TestRun_passes(t *testing.T) {
	t.Parallel()

	Run(t, fake{}, []Case{
		{Name: "default", Want: counted("seen")},
		{Name: "given", Settings: map[string]any{"name": "mine"}, Want: counted("mine")},
		{Name: "refused", Settings: map[string]any{"other": 1}, WantRefused: "settings.other: unknown"},
		{Name: "own event", Event: &visitor.Event{}, Want: counted("seen")},
	})
	Run(t, fake{process: func(context.Context, *visitor.Event) (processor.Result, error) {
		return processor.Result{}, processor.Permanent(errors.New("no title"))
	}}, []Case{{Name: "permanent error", WantErr: "no title", WantPermanent: true}})
	Run(t, fake{process: func(context.Context, *visitor.Event) (processor.Result, error) {
		return processor.Result{Stop: true, Effects: []processor.Effect{}}, nil
	}}, []Case{{Name: "stop; empty effects are none", Want: processor.Result{Stop: true}}})
}

func TestEvent_valid(t *testing.T) {
	t.Parallel()

	if err := Event().Validate(); err != nil {
		t.Errorf("the fixture is not a valid event: %v", err)
	}
	if a, b := Event(), Event(); a == b {
		t.Error("two calls share an event")
	}
}

func TestCheckRegistration(t *testing.T) {
	t.Parallel()

	var n atomic.Int64
	tests := []struct {
		name     string
		register func() processor.Registration
		wantErr  string
	}{
		{"bad description", func() processor.Registration { return processor.Registration{Name: "fake"} }, "title: missing"},
		{
			"changing description",
			func() processor.Registration {
				return processor.Registration{Name: "fake", Version: "1", Title: strings.Repeat("x", int(n.Add(1))), Description: "d"}
			},
			"two calls describe",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			wantFound(t, checkRegistration(fake{register: tc.register}), tc.wantErr)
		})
	}
}

// TestCheckCase_finds proves that each breach of the contract is found.
func TestCheckCase_finds(t *testing.T) {
	t.Parallel()

	var n atomic.Int64
	type handler = processor.HandlerFunc
	gives := func(r processor.Result, err error) handler {
		return func(context.Context, *visitor.Event) (processor.Result, error) { return r, err }
	}
	failure := errors.New("cannot tell")
	tests := []struct {
		name    string
		fake    fake
		c       Case
		wantErr string
	}{
		{"bad description", fake{register: func() processor.Registration { return processor.Registration{} }}, Case{}, "name: want"},
		{
			"refused for nothing",
			fake{configure: func(processor.Settings) (processor.Handler, error) { return nil, failure }},
			Case{}, "configure: processor",
		},
		{"not refused", fake{}, Case{WantRefused: "too low"}, `configure: no error, want "too low"`},
		{"refused for another reason", fake{}, Case{Settings: map[string]any{"x": 1}, WantRefused: "too low"}, `want "too low" in it`},
		{
			"no handler",
			fake{configure: func(processor.Settings) (processor.Handler, error) { return nil, nil }},
			Case{}, "neither a handler nor an error",
		},
		{
			"settings changed",
			fake{configure: func(s processor.Settings) (processor.Handler, error) {
				s.List("rules")[0]["points"] = 2
				return gives(processor.Result{}, nil), nil
			}},
			Case{Settings: map[string]any{"rules": []any{map[string]any{"points": 1}}}}, "changed the settings",
		},
		{
			"event changed",
			fake{process: func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
				ev.Person.Emails[0].Address = strings.ToUpper(ev.Person.Emails[0].Address)
				return processor.Result{}, nil
			}},
			Case{}, "changed the event",
		},
		{
			"map of the event changed",
			fake{process: func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
				ev.Attribution.CustomAttributes["seen"] = true
				return processor.Result{}, nil
			}},
			Case{}, "changed the event",
		},
		{
			"another result each time",
			fake{process: func(context.Context, *visitor.Event) (processor.Result, error) {
				return processor.Result{Effects: []processor.Effect{processor.AddScore{Name: "a", Points: n.Add(1)}}}, nil
			}},
			Case{}, "two different results",
		},
		{"forbidden name", fake{process: gives(counted("a.b"), nil)}, Case{Want: counted("a.b")}, "effects[0]: name: want"},
		{"unwanted effects", fake{process: gives(counted("a"), nil)}, Case{}, "process: result ="},
		{"missing effects", fake{process: gives(processor.Result{}, nil)}, Case{Want: counted("a")}, "process: result ="},
		{"unwanted stop", fake{process: gives(processor.Result{Stop: true}, nil)}, Case{}, "process: result ="},
		{"unwanted error", fake{process: gives(processor.Result{}, failure)}, Case{}, "process: cannot tell"},
		{"missing error", fake{process: gives(processor.Result{}, nil)}, Case{WantErr: "x"}, `process: no error, want "x"`},
		{"another error", fake{process: gives(processor.Result{}, failure)}, Case{WantErr: "x"}, `want "x" in it`},
		{
			"not permanent",
			fake{process: gives(processor.Result{}, failure)},
			Case{WantErr: "cannot", WantPermanent: true}, "permanent error = false, want true",
		},
		{
			"permanent",
			fake{process: gives(processor.Result{}, processor.Permanent(failure))},
			Case{WantErr: "cannot"}, "permanent error = true, want false",
		},
		{
			"personal data in an error",
			fake{process: func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
				return processor.Result{}, errors.New("bad address " + ev.Person.Emails[1].Address)
			}},
			Case{WantErr: "bad address"}, "personal data",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			wantFound(t, checkCase(t.Context(), tc.fake, tc.c), tc.wantErr)
		})
	}
}

func wantFound(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q in it", err, want)
	}
}
