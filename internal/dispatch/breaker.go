package dispatch

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// breakAfter is how many failures in a row open a breaker: a single slow call or panic must not.
	breakAfter = 5
	// breakFor is how long it stays open before one event may try; the subscription's shortest backoff, so that
	// an event given back meanwhile may come again when the breaker is tried.
	breakFor = 10 * time.Second
)

var errBroken = errors.New("failed several times in a row and is left alone for a while")

// breaker keeps a tenant's events away from what keeps failing for it. It is part of the tenant's chain and goes
// with it: a changed record starts afresh. Its zero value is closed.
type breaker struct {
	troubled atomic.Bool // there was a failure since the last success: otherwise nothing below matters

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // open, and to be probed from then on; zero while closed
	probing  bool
}

// pass is what a breaker let through.
type pass uint8

const (
	passNone  pass = iota // nothing
	passRun               // a run like any other
	passProbe             // the one that decides whether an open breaker closes
)

// change is what a result did to a breaker.
type change uint8

const (
	changeNone change = iota
	changeOpened
	changeClosed
)

// refuses reports whether the breaker is open and no probe is due.
func (b *breaker) refuses() bool {
	if !b.troubled.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusing()
}

func (b *breaker) refusing() bool {
	return !b.until.IsZero() && (b.probing || time.Now().Before(b.until))
}

// enter asks for a pass. Whoever has one tells record how it ended.
func (b *breaker) enter() pass {
	if !b.troubled.Load() {
		return passRun
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return passRun
	case b.refusing():
		return passNone
	}
	b.probing = true
	return passProbe
}

// record takes the result of a run. While the breaker is open only the probe's counts: others began before.
func (b *breaker) record(p pass, failed bool) change {
	if !failed && !b.troubled.Load() {
		return changeNone
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	open := !b.until.IsZero()
	switch {
	case open && p != passProbe:
	case failed:
		b.troubled.Store(true)
		b.probing = false
		if b.failures++; b.failures >= breakAfter {
			b.until = time.Now().Add(breakFor)
		}
		if !open && !b.until.IsZero() {
			return changeOpened
		}
	default:
		b.troubled.Store(false)
		b.failures, b.until, b.probing = 0, time.Time{}, false
		if open {
			return changeClosed
		}
	}
	return changeNone
}

// abstain gives a pass back without a result: the next event may probe.
func (b *breaker) abstain(p pass) {
	if p == passProbe {
		b.mu.Lock()
		b.probing = false
		b.mu.Unlock()
	}
}
