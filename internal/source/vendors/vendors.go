// Package vendors assembles the registry of every source that usher knows.
package vendors

import (
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/source/leadpipe"
	"github.com/usherhq/usher/internal/source/mdblegacy"
	"github.com/usherhq/usher/internal/source/midbound"
)

// New returns the registry of all adapters.
func New() *source.Registry {
	r, err := source.NewRegistry(leadpipe.New(), mdblegacy.New(), midbound.New())
	if err != nil {
		panic(err) // impossible wiring: the list above is fixed
	}
	return r
}
