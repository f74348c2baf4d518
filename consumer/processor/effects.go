package processor

import (
	"errors"
	"fmt"
)

// MaxEffects is how many effects one result may have; they share one atomic commit with other events' effects.
const MaxEffects = 50

// Validate reports everything in the result that cannot be committed: an unknown effect or condition, a bad
// name, too many effects.
func (r Result) Validate() error {
	var errs []error
	if len(r.Effects) > MaxEffects {
		errs = append(errs, fmt.Errorf("effects: over %d", MaxEffects))
	}
	for i, e := range r.Effects {
		if err := validEffect(e); err != nil {
			errs = append(errs, fmt.Errorf("effects[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

var errName = errors.New("name: want a lower-case letter, then letters, digits and '_'")

func validEffect(e Effect) error {
	switch e := e.(type) {
	case Record, MergeVisitor, Meter:
		return nil
	case AddScore:
		if !ValidName(e.Name) {
			return errName
		}
		return nil
	case Count:
		if !ValidName(e.Name) {
			return errName
		}
		if e.When != Always && e.When != IfFirstMatch {
			return errors.New("when: unknown condition")
		}
		return nil
	}
	return fmt.Errorf("unknown effect %T", e)
}
