package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// unlessClosed is a server's error, nil when it was closed on purpose.
func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// cleanups are undone last in, first out, under one deadline.
type cleanups []cleanup

type cleanup struct {
	name string
	do   func(context.Context) error
}

func (c *cleanups) add(name string, do func(context.Context) error) {
	*c = append(*c, cleanup{name, do})
}

// run does all of them, whatever fails, and joins the errors.
func (c *cleanups) run(ctx context.Context) error {
	var errs []error
	for i := len(*c) - 1; i >= 0; i-- {
		if err := (*c)[i].do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", (*c)[i].name, err))
		}
	}
	*c = nil
	return errors.Join(errs...)
}
