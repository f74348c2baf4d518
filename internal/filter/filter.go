// Package filter is the built-in processor that ends the chain for events a tenant does not want.
package filter

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/condition"
)

// Processor keeps or drops events by conditions over their fields. What it does not keep ends the chain without
// an effect, so that processors before it are not undone and later ones never see the event.
type Processor struct{}

// Register describes the processor.
func (Processor) Register() processor.Registration {
	return processor.Registration{
		Name:    "filter",
		Version: "1.0.0",
		Title:   "Filter",
		Pure:    true,
		Description: "Keeps or drops events by conditions over their fields. A dropped event goes no further: " +
			"put the filter before the processors that must not see it.",
		Settings: []processor.Setting{
			{
				ID: "conditions", Type: processor.List, Required: true,
				Description: "Conditions {field, op, value}, such as " +
					`{"field": "person.title", "op": "contains", "value": "cto"}.`,
			},
			{
				ID: "match", Type: processor.Text, Default: "all", OneOf: []string{"all", "any"},
				Description: "Whether all conditions must be met or any one of them.",
			},
			{
				ID: "action", Type: processor.Text, Default: "keep", OneOf: []string{"keep", "drop"},
				Description: "What to do with events that meet the conditions; the others get the opposite.",
			},
		},
	}
}

// Configure compiles a tenant's conditions. It reports every bad one at once.
func (Processor) Configure(s processor.Settings) (processor.Handler, error) {
	list := s.List("conditions")
	if len(list) == 0 {
		return nil, errors.New("settings.conditions: want at least one")
	}
	conds, err := condition.CompileList(list)
	if err != nil {
		return nil, fmt.Errorf("settings.conditions: %w", err)
	}
	wanted := condition.All(conds...)
	if s.Text("match") == "any" {
		wanted = condition.Any(conds...)
	}
	keep := s.Text("action") != "drop"
	return processor.HandlerFunc(func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
		return processor.Result{Stop: wanted.Match(ev) != keep}, nil
	}), nil
}
