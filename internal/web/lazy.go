package web

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/singleflight"
)

var errNoHandler = errors.New("no handler was built")

// Lazy returns a handler that is built by its first request. Success is kept; after an error that request
// and those that waited for the same try get it as an [*Error] of status 503, and the next one tries again. One
// build runs at a time, and its context outlives the request, because what it builds does.
func Lazy(build func(context.Context) (http.Handler, error)) HandlerFunc {
	var (
		built  atomic.Pointer[http.Handler]
		flight singleflight.Group
	)
	get := func(ctx context.Context) (http.Handler, error) {
		if h := built.Load(); h != nil {
			return *h, nil
		}
		_, err, _ := flight.Do("", func() (any, error) {
			if built.Load() != nil {
				return nil, nil
			}
			h, err := build(context.WithoutCancel(ctx))
			if err == nil && h == nil {
				err = errNoHandler
			}
			if err == nil {
				built.Store(&h)
			}
			return nil, err
		})
		if err != nil {
			return nil, &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Msg: "Service unavailable", Err: err}
		}
		return *built.Load(), nil
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		h, err := get(r.Context())
		if err != nil {
			return err
		}
		h.ServeHTTP(w, r)
		return nil
	}
}
