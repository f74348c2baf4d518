package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// gate counts the requests under way and, once it is closed, lets no more in.
type gate struct {
	mu     sync.Mutex
	under  int
	closed bool
	idle   chan struct{} // closed when the gate is and nothing is under way
}

// count lets a request through the gate to h. Once it is closed, refuse answers, and the connection is closed,
// so that the sender tries elsewhere.
func (g *gate) count(h, refuse http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.enter() {
			w.Header().Set("Connection", "close")
			w.Header().Set("Retry-After", "1")
			refuse.ServeHTTP(w, r)
			return
		}
		defer g.leave()
		h.ServeHTTP(w, r)
	})
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.under++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.under--; g.under == 0 && g.closed {
		close(g.idle)
	}
}

var errUnderWay = errors.New("shutdown grace is over with requests under way: their senders will repeat them")

// drain closes the gate, once, and waits until nothing is under way or ctx ends.
func (g *gate) drain(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	if g.under == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return errUnderWay
	}
}

// timedBody lifts the read deadline at the body's end: later it would cancel the request's context.
type timedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{}) // it could be set, so it can be lifted
	}
	return n, err
}
