package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

// running is a daemon in this process, as `usher run` starts it.
type running struct {
	daemon *app.Daemon
	cancel context.CancelFunc
	done   chan error
}

func startDaemon(ctx context.Context, cfg *config.Config, b *app.Backend) (*running, error) {
	d, err := app.NewDaemon(cfg, b, quietLogger())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{daemon: d, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	return r, nil
}

// tune sets garbage collection as `usher run` does, but without its limit: this process also holds the messages that
// wait and, on the twins, all that is stored.
func tune(cfg *config.Config) error {
	err := app.TuneMemory(cfg)
	debug.SetMemoryLimit(math.MaxInt64)
	return err
}

// handled is how many messages were stored, found to be stored, or parked.
func (r *running) handled() int64 {
	ended, _ := r.daemon.Stats()
	return ended["stored"] + ended["duplicate"] + ended["parked"]
}

// wait waits until n messages have been handled.
func (r *running) wait(ctx context.Context, n int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.handled() < n {
		select {
		case err := <-r.done:
			r.done <- err
			return errors.Join(errEarly, err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

var errEarly = errors.New("daemon ended early")

// stop drains the daemon.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// unread is where log lines go: making them is part of what is measured, so the handler must be a real one.
type unread struct{}

func (unread) Write(p []byte) (int, error) { return len(p), nil }

func quietLogger() *slog.Logger { return slog.New(slog.NewJSONHandler(unread{}, nil)) }
