// Package score is the built-in processor that adds weighted points to a visitor's score.
package score

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/usherhq/usher/consumer/processor"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/condition"
)

// MaxPoints bounds one rule's points either way, so that no sum over a visitor's life can overflow.
const MaxPoints = 1_000_000

// Processor adds up the points of the rules an event meets and adds the sum to a named score of its visitor.
type Processor struct{}

// Register describes the processor.
func (Processor) Register() processor.Registration {
	return processor.Registration{
		Name:        "score",
		Version:     "1.0.0",
		Title:       "Score",
		Pure:        true,
		Description: "Adds the points of every rule that an event meets to a named score of its visitor.",
		Settings: []processor.Setting{
			{
				ID: "name", Type: processor.Text, Default: "score",
				Description: "The score's name: a lower-case letter, then letters, digits and '_'.",
			},
			{
				ID: "rules", Type: processor.List, Required: true,
				Description: "Rules {when, points}: when is a condition {field, op, value}, points a whole number, such as " +
					`{"when": {"field": "person.title", "op": "contains", "value": "cto"}, "points": 10}.`,
			},
		},
	}
}

type rule struct {
	when   condition.Condition
	points int64
}

// Configure compiles a tenant's rules. It reports every problem at once.
func (Processor) Configure(s processor.Settings) (processor.Handler, error) {
	var errs []error
	name := s.Text("name")
	if !processor.ValidName(name) {
		errs = append(errs, errors.New("settings.name: want a lower-case letter, then letters, digits and '_'"))
	}
	list := s.List("rules")
	if len(list) == 0 {
		errs = append(errs, errors.New("settings.rules: want at least one"))
	}
	rules := make([]rule, len(list))
	for i, m := range list {
		r, err := compile(m)
		if err != nil {
			errs = append(errs, fmt.Errorf("settings.rules: item %d: %w", i, err))
		}
		rules[i] = r
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return processor.HandlerFunc(func(_ context.Context, ev *visitor.Event) (processor.Result, error) {
		var sum int64
		for i := range rules {
			if rules[i].when.Match(ev) {
				sum += rules[i].points
			}
		}
		if sum == 0 {
			return processor.Result{}, nil
		}
		return processor.Result{Effects: []processor.Effect{processor.AddScore{Name: name, Points: sum}}}, nil
	}), nil
}

func compile(m map[string]any) (rule, error) {
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k != "when" && k != "points" {
			errs = append(errs, fmt.Errorf("%s: unknown key (want when, points)", k))
		}
	}
	points, ok := wholeNumber(m["points"])
	if !ok || points == 0 || points < -MaxPoints || points > MaxPoints {
		errs = append(errs, fmt.Errorf("points: want a whole number other than 0, at most %d either way", MaxPoints))
	}
	when, ok := m["when"].(map[string]any)
	if !ok {
		return rule{}, errors.Join(append(errs, errors.New("when: want a condition {field, op, value}"))...)
	}
	c, err := condition.Compile(when)
	if err != nil {
		errs = append(errs, fmt.Errorf("when: %w", err))
	}
	return rule{c, points}, errors.Join(errs...)
}

// wholeNumber accepts what JSON, YAML and Firestore decode a whole number to.
func wholeNumber(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) <= MaxPoints
	}
	return 0, false
}
