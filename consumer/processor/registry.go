package processor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrUnknown is returned for a processor name that is not registered.
var ErrUnknown = errors.New("unknown processor")

// Registry holds the processors that tenants can use. Fill it before use; it is then safe for concurrent use.
type Registry struct {
	byName map[string]entry
}

type entry struct {
	reg Registration
	p   Processor
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{byName: map[string]entry{}} }

// Register adds a processor. It refuses a bad self-description and a name that is taken.
func (r *Registry) Register(p Processor) error {
	reg := p.Register()
	if err := reg.Validate(); err != nil {
		return fmt.Errorf("register processor %q: %w", reg.Name, err)
	}
	if _, ok := r.byName[reg.Name]; ok {
		return fmt.Errorf("register processor %q: name is taken", reg.Name)
	}
	r.byName[reg.Name] = entry{reg, p}
	return nil
}

// Registrations lists the self-descriptions by name.
func (r *Registry) Registrations() []Registration {
	out := make([]Registration, 0, len(r.byName))
	for _, n := range slices.Sorted(maps.Keys(r.byName)) {
		out = append(out, r.byName[n].reg)
	}
	return out
}

// Lookup returns a processor's self-description.
func (r *Registry) Lookup(name string) (Registration, bool) {
	e, ok := r.byName[name]
	return e.reg, ok
}

// Configure checks settings and returns the named processor's handler for them. It returns [ErrUnknown] for
// a name that is not registered.
func (r *Registry) Configure(name string, given map[string]any) (Handler, error) {
	e, ok := r.byName[name]
	if !ok {
		return nil, fmt.Errorf("%w %q (known: %v)", ErrUnknown, name, slices.Sorted(maps.Keys(r.byName)))
	}
	s, err := e.reg.Check(given)
	if err != nil {
		return nil, fmt.Errorf("processor %q: %w", name, err)
	}
	h, err := e.p.Configure(s)
	if err != nil {
		return nil, fmt.Errorf("processor %q: %w", name, err)
	}
	return h, nil
}
