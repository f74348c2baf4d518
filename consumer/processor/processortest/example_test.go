package processortest_test

import (
	"context"
	"testing"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/processor/processortest"
	"github.com/usherhq/usher/consumer/visitor"
)

// returning counts visitors that came back.
type returning struct{}

func (returning) Register() processor.Registration {
	return processor.Registration{Name: "returning", Version: "1.0.0", Title: "Returning", Description: "Counts visitors that came back."}
}

func (returning) Configure(processor.Settings) (processor.Handler, error) {
	return processor.HandlerFunc(func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
		if ev.Visit.VisitNumber < 2 {
			return processor.Result{}, nil
		}
		return processor.Result{Effects: []processor.Effect{processor.Count{Name: "returning", N: 1}}}, nil
	}), nil
}

func ExampleRun() {
	// In a processor's test file:
	_ = func(t *testing.T) { //nolint:thelper // it stands for a test function
		back := processortest.Event()
		back.Visit.VisitNumber = 2
		processortest.Run(t, returning{}, []processortest.Case{
			{Name: "first visit"},
			{Name: "second visit", Event: back, Want: processor.Result{
				Effects: []processor.Effect{processor.Count{Name: "returning", N: 1}},
			}},
			{Name: "no settings", Settings: map[string]any{"x": 1}, WantRefused: "unknown setting"},
		})
	}
}
