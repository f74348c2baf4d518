package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Registry holds the adapters by name. It does not change once it is made and is safe for concurrent use.
type Registry struct {
	adapters map[string]Adapter
	infos    []Info // by name
}

// NewRegistry returns a registry of the adapters. It returns an error for one without name and for two of the
// same name.
func NewRegistry(adapters ...Adapter) (*Registry, error) {
	r := &Registry{adapters: make(map[string]Adapter, len(adapters))}
	for _, a := range adapters {
		info := a.Info()
		if info.Name == "" {
			return nil, errors.New("source without name")
		}
		if _, ok := r.adapters[info.Name]; ok {
			return nil, fmt.Errorf("source %s: registered twice", info.Name)
		}
		r.adapters[info.Name] = a
		r.infos = append(r.infos, info)
	}
	slices.SortFunc(r.infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return r, nil
}

// Lookup returns the adapter of a source, or [ErrUnknown].
func (r *Registry) Lookup(name string) (Adapter, error) {
	a, ok := r.adapters[name]
	if !ok {
		return nil, ErrUnknown
	}
	return a, nil
}

// Infos describes every source, by name.
func (r *Registry) Infos() []Info { return slices.Clone(r.infos) }
