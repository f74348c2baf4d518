package app

import (
	"context"
	"errors"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/store"
)

// ErrNoDatabase is returned where nothing says which database an operator means.
var ErrNoDatabase = errors.New("no database: set GOOGLE_CLOUD_PROJECT for Firestore, " +
	"or USHER_DEV_ADDR to what a running `usher dev` prints")

// Operator is what operator commands work with: the store, Firestore or that of a running `usher dev`, and the
// tenants in it.
type Operator struct {
	Store   store.Store
	Tenants *directory.Directory
}

// OpenOperator opens the store at devAddr, the address that a running `usher dev` prints, or without one the
// configured Firestore. It returns [ErrNoDatabase] when neither is named.
func OpenOperator(ctx context.Context, cfg *config.Config, devAddr string) (*Operator, error) {
	s, err := operatorStore(ctx, cfg, devAddr)
	if err != nil {
		return nil, err
	}
	reg, err := NewRegistry()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	dir, err := NewDirectory(cfg, s, reg)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Operator{s, dir}, nil
}

func operatorStore(ctx context.Context, cfg *config.Config, devAddr string) (store.Store, error) {
	switch {
	case devAddr != "":
		return devlink.Dial(devAddr), nil
	case cfg.Project != "":
	case cfg.Firestore.EmulatorHost != "":
		cfg.Project = emulatorProject // as usher dev has it
	default:
		return nil, ErrNoDatabase
	}
	return OpenStore(ctx, cfg)
}

// Close releases everything.
func (o *Operator) Close() error {
	o.Tenants.Close()
	return o.Store.Close()
}
