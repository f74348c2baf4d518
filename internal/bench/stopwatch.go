package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/usherhq/usher/internal/queue"
)

// stopwatch takes the time of each event from its publish to the end of the Commit that stored it, on one clock.
type stopwatch struct {
	mu   sync.Mutex
	sent map[string]time.Time
	took map[string]time.Duration
	end  time.Time // when all had been stored
}

func newStopwatch() *stopwatch {
	return &stopwatch{sent: map[string]time.Time{}, took: map[string]time.Duration{}}
}

func (s *stopwatch) start(event string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[event] = now
}

// stop is a meter's listener; the first call for an event counts.
func (s *stopwatch) stop(event string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, known := s.sent[event]
	if _, again := s.took[event]; known && !again {
		s.took[event] = at.Sub(sent)
	}
}

// wait waits until a daemon has stored n events.
func (s *stopwatch) wait(ctx context.Context, r *running, n int) error {
	if err := r.wait(ctx, int64(n)); err != nil {
		return err
	}
	s.mu.Lock()
	s.end = time.Now()
	s.mu.Unlock()
	if ended, _ := r.daemon.Stats(); ended["parked"] > 0 {
		return errParked
	}
	return nil
}

var errParked = errors.New("an event was parked")

// spread is how long events took, in milliseconds.
type spread struct {
	Events int     `json:"events"`
	Unseen int     `json:"unseen"` // of them whose Commit had no answer: they count as stored when all were
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

// spread summarises the given events.
func (s *stopwatch) spread(messages []message) spread {
	s.mu.Lock()
	defer s.mu.Unlock()
	unseen := 0
	ms := make([]float64, 0, len(messages))
	for _, m := range messages {
		took, ok := s.took[m.event]
		if !ok {
			unseen++
			took = s.end.Sub(s.sent[m.event])
		}
		ms = append(ms, float64(took.Microseconds())/1000)
	}
	slices.Sort(ms)
	return spread{len(ms), unseen, percentile(ms, 0.5), percentile(ms, 0.99), percentile(ms, 1)}
}

// pace publishes messages at random moments, so many a second on average, and waits for all publishes.
func pace(ctx context.Context, p queue.Publisher, messages []message, rate float64, watch *stopwatch) error {
	rng := rand.New(rand.NewPCG(1, 2))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	due := time.Now()
	for _, m := range messages {
		due = due.Add(time.Duration(rng.ExpFloat64() / rate * float64(time.Second)))
		if !sleepUntil(ctx, due) {
			break
		}
		watch.start(m.event)
		wg.Go(func() {
			if _, err := p.Publish(ctx, m.Message); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, context.Cause(ctx))...)
}

// sleepUntil returns false when ctx ends first. A moment that has nearly come is not waited for.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d < 200*time.Microsecond {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
