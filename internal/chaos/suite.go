package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/internal/emulator"
)

// scenario is one way for things to go wrong.
type scenario struct {
	name string
	what string
	run  func(context.Context, *rig) error
	// twins says that it runs in process and needs neither emulators nor a binary.
	twins bool
	// proxied says that its daemons reach the emulators through proxies.
	proxied bool
	// alone says that it needs a Firestore emulator of its own, because it does something to it.
	alone bool
}

// suite is one run of several scenarios.
type suite struct {
	o         options
	stderr    io.Writer
	usher     string // the daemon's binary
	pubsub    *emulator.Emulator
	firestore *emulator.Emulator

	mu   sync.Mutex
	rows []row
}

// run runs the scenarios and returns a row for each that was begun. The error is about the suite itself.
func (s *suite) run(ctx context.Context, chosen []scenario) (_ []row, err error) {
	dir, err := os.MkdirTemp("", "usher-chaos-")
	if err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if slices.ContainsFunc(chosen, func(sc scenario) bool { return !sc.twins }) {
		defer func() { err = errors.Join(err, s.stop()) }()
		if err := s.prepare(ctx, dir); err != nil {
			return nil, err
		}
	}
	var grp errgroup.Group
	grp.SetLimit(s.o.parallel)
	for _, sc := range chosen {
		grp.Go(func() error {
			if ctx.Err() == nil {
				s.one(ctx, sc)
			}
			return nil
		})
	}
	_ = grp.Wait() // scenarios tell their errors in their rows
	slices.SortFunc(s.rows, func(a, b row) int { return indexOf(a.Scenario) - indexOf(b.Scenario) })
	return s.rows, context.Cause(ctx)
}

// prepare builds the daemon and starts the emulators.
func (s *suite) prepare(ctx context.Context, dir string) error {
	if s.o.logs != "" {
		if err := os.MkdirAll(s.o.logs, 0o750); err != nil {
			return fmt.Errorf("logs: %w", err)
		}
	}
	if s.usher = s.o.usher; s.usher == "" {
		s.usher = filepath.Join(dir, "usher")
		s.say("building the daemon")
		//nolint:gosec // its arguments are fixed but for a directory of its own
		cmd := exec.CommandContext(ctx, "go", "build", "-o", s.usher, "github.com/usherhq/usher/consumer")
		cmd.Stderr = s.stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build the daemon: %w", err)
		}
	}
	s.say("starting the emulators")
	var err error
	if s.pubsub, err = emulator.Start(ctx, emulator.PubSub, emulator.Options{}); err != nil {
		return err
	}
	s.firestore, err = emulator.Start(ctx, emulator.Firestore, emulator.Options{})
	return err
}

func (s *suite) stop() error {
	var errs []error
	for _, e := range []*emulator.Emulator{s.pubsub, s.firestore} {
		if e != nil {
			errs = append(errs, e.Stop())
		}
	}
	return errors.Join(errs...)
}

// one runs a scenario from empty projects to its row.
func (s *suite) one(ctx context.Context, sc scenario) {
	s.say("%s: begins: %s", sc.name, sc.what)
	began := time.Now()
	r := &rig{s: s, name: sc.name, row: row{Scenario: sc.name}}
	err := r.open(ctx, sc)
	if err == nil {
		err = sc.run(ctx, r)
	}
	if !sc.twins {
		err = r.audit(ctx, err)
	}
	err = errors.Join(err, r.close())
	r.row.Seconds = time.Since(began).Seconds()
	if err != nil {
		r.row.Error = err.Error()
	}
	s.say("%s: %s after %.0f s: %d distinct, %d stored, %d lost, %d duplicated", sc.name,
		map[bool]string{true: "survived", false: "FAILED"}[r.row.survived()], r.row.Seconds,
		r.row.Distinct, r.row.Stored, r.row.Lost, r.row.Duplicated)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, r.row)
}

// say prints a line of progress.
func (s *suite) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
