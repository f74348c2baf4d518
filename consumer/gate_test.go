package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newGate() *gate { return &gate{idle: make(chan struct{})} }

func TestGateWaitsForRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, release := newGate(), make(chan struct{})
		h := g.count(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), http.NotFoundHandler())
		first := httptest.NewRecorder()
		served := make(chan struct{})
		go func() {
			h.ServeHTTP(first, httptest.NewRequest(http.MethodPost, "/", nil))
			close(served)
		}()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- g.drain(t.Context()) }()
		synctest.Wait()
		late := httptest.NewRecorder()
		h.ServeHTTP(late, httptest.NewRequest(http.MethodPost, "/", nil))
		if late.Code != http.StatusNotFound || late.Header().Get("Connection") != "close" || late.Header().Get("Retry-After") == "" {
			t.Errorf("late request: %d %v, want it refused and the connection closed", late.Code, late.Header())
		}
		select {
		case err := <-drained:
			t.Fatalf("drained with a request under way: %v", err)
		default:
		}
		close(release)
		<-served
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestGateDrainIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.enter()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if err := g.drain(ctx); !errors.Is(err, errUnderWay) {
			t.Errorf("error %v, want %v", err, errUnderWay)
		}
	})
}

func TestGateWithoutRequests(t *testing.T) {
	t.Parallel()
	if err := newGate().drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReadWithin sends half a body: reading the rest fails after the time, and only reading.
func TestReadWithin(t *testing.T) {
	t.Parallel()
	read := make(chan error, 2)
	srv := httptest.NewServer(readWithin(50*time.Millisecond, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
		if err == nil {
			select {
			case <-r.Context().Done():
				read <- r.Context().Err()
			case <-time.After(150 * time.Millisecond): // well after the deadline for reading
				read <- nil
			}
		}
	})))
	defer srv.Close()
	pr, pw := io.Pipe()
	defer func() { _ = pw.Close() }()
	go func() { _, _ = pw.Write([]byte("half")) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, pr)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := srv.Client().Do(req); err == nil {
		_ = resp.Body.Close()
	}
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("slow body: error %v, want %v", err, os.ErrDeadlineExceeded)
	}
	resp, err := srv.Client().Post(srv.URL, "", strings.NewReader("whole"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := <-read; err != nil {
		t.Errorf("whole body: %v", err)
	}
	if err := <-read; err != nil {
		t.Errorf("slow handler after a whole body: %v", err)
	}
}
