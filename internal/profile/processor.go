package profile

import (
	"context"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
)

// Processor is the built-in processor "profile": it keeps the identification, merges the visitor and counts
// usage. A tenant without a chain of its own has just this.
type Processor struct{}

// Register describes the processor.
func (Processor) Register() processor.Registration {
	return processor.Registration{
		Name:        "profile",
		Version:     "1.0.0",
		Title:       "Visitor profile",
		Pure:        true,
		Description: "Stores each identification, merges it into the visitor's profile and counts usage.",
		Settings: []processor.Setting{{
			ID: "visitors", Type: processor.Boolean, Default: true,
			Description: "Keep a merged profile of each visitor. Without it there is no first match: " +
				"every event is stored and counted, none is told to be the visitor's first.",
		}},
	}
}

// Configure binds the settings of one tenant.
func (Processor) Configure(s processor.Settings) (processor.Handler, error) {
	effects := []processor.Effect{processor.Record{}, processor.Meter{}}
	if s.Boolean("visitors") {
		effects = append(effects, processor.MergeVisitor{})
	}
	return processor.HandlerFunc(func(context.Context, *visitor.Event) (processor.Result, error) {
		return processor.Result{Effects: effects}, nil
	}), nil
}
