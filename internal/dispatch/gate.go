package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// gate is closed while a system that everything depends on is away. Handlers wait at it, holding their
// messages leased, while one goroutine probes the system.
type gate struct {
	probe  func(context.Context) error
	every  time.Duration // longest pause between probes
	logger *slog.Logger

	mu      sync.Mutex
	open    chan struct{} // closed while the gate is open
	closed  bool
	pause   time.Duration // before the next probe
	opened  time.Time     // when it last opened again
	done    bool
	probing sync.WaitGroup
	stop    context.Context
	cancel  context.CancelFunc
}

func newGate(probe func(context.Context) error, every time.Duration, l *slog.Logger) *gate {
	g := &gate{probe: probe, every: every, logger: l, open: make(chan struct{})}
	g.stop, g.cancel = context.WithCancel(context.Background())
	close(g.open)
	return g
}

// shut closes the gate and starts probing, unless that is so already. After close nobody opens it again: who waits does so
// until its context ends.
func (g *gate) shut(ctx context.Context, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.closed = true
	g.open = make(chan struct{})
	if g.done {
		return
	}
	// A system that answers probes and still fails is probed ever more slowly.
	if g.pause == 0 || time.Since(g.opened) > g.every {
		g.pause = firstProbe
	}
	g.logger.WarnContext(ctx, "gate closed: a system is away, messages are held", "error", cause)
	g.probing.Go(g.watch)
}

var errHeldTooLong = errors.New("message was held too long")

// wait returns nil when the gate is open, or else errHeldTooLong at a time or why the context ended.
func (g *gate) wait(ctx context.Context, until time.Time) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	default:
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until, errHeldTooLong)
	defer cancel()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isOpen reports whether work can go on.
func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed
}

const (
	firstProbe   = 100 * time.Millisecond
	probeTimeout = 3 * time.Second
)

// watch probes with growing pauses until the system answers.
func (g *gate) watch() {
	since := time.Now()
	for {
		t := time.NewTimer(g.pause)
		select {
		case <-t.C:
		case <-g.stop.Done():
			t.Stop()
			return
		}
		ctx, cancel := context.WithTimeout(g.stop, probeTimeout)
		err := g.probe(ctx)
		cancel()
		g.pause = min(2*g.pause, g.every) // only this goroutine has it while the gate is closed
		if err != nil {
			continue
		}
		g.mu.Lock()
		g.closed = false
		g.opened = time.Now()
		close(g.open)
		g.mu.Unlock()
		g.logger.InfoContext(g.stop, "gate open again", "closed_for", time.Since(since))
		return
	}
}

// close ends probing; the gate stays as it is.
func (g *gate) close() {
	g.mu.Lock()
	g.done = true
	g.mu.Unlock()
	g.cancel()
	g.probing.Wait()
}
