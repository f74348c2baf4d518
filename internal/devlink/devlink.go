// Package devlink lets sibling commands on the same machine use the store and the topics of a running `usher dev`.
//
// It speaks gob over HTTP and belongs on loopback: there is no authentication. Web pages are kept out, as a browser
// on the same machine reaches loopback as well.
package devlink

import (
	"encoding/gob"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// Info is what a sibling command must know of the running process.
type Info struct {
	IngestURL string // base URL of the HTTP functions
	Endpoints []Endpoint
	Topic     string // of events, for [Client.Publisher]
}

// Endpoint is one inbound endpoint with what signs for it.
type Endpoint struct {
	Name, Source string
	Mode         string // as in configuration
	Header       string
	Secret       string
	Tenants      []string // that it may speak for; empty means any
	RepeatAfter  time.Duration
}

// paths of the protocol.
const (
	pathInfo   = "/devlink/info"
	pathCommit = "/devlink/commit"
	pathGet    = "/devlink/get"
	pathQuery  = "/devlink/query"

	pathPublish = "/devlink/publish"
)

// reply carries a result or a classified error.
type reply[T any] struct {
	Result T
	Code   code.Code
	Text   string
}

func init() { // gob wants to know what Fields may hold
	gob.Register(store.Fields{})
	gob.Register([]any{})
	gob.Register(time.Time{})
	gob.Register(null(true))
}

// nothing stands for no value: gob refuses the empty struct.
type nothing bool

// null stands for nil in an array: gob refuses it there.
type null bool

// pack replaces what gob refuses; unpack undoes it. Neither changes its argument.
func pack(f store.Fields) store.Fields { return replace(f, nil, null(true)) }

func unpack(f store.Fields) store.Fields { return replace(f, null(true), nil) }

func replace(f store.Fields, from, to any) store.Fields {
	out := make(store.Fields, len(f))
	for i := range f {
		out[i] = store.Field{Name: f[i].Name, Value: replaceValue(f[i].Value, from, to)}
	}
	return out
}

func replaceValue(v, from, to any) any {
	switch v := v.(type) {
	case store.Fields:
		return replace(v, from, to)
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			switch e.(type) {
			case nil, null:
				if e == from {
					e = to
				}
				l[i] = e
			default:
				l[i] = replaceValue(e, from, to)
			}
		}
		return l
	}
	return v
}

// packed packs documents for the way.
func packed(docs []store.Doc, err error) ([]store.Doc, error) { return convert(docs, pack), err }

func convert(docs []store.Doc, f func(store.Fields) store.Fields) []store.Doc {
	out := make([]store.Doc, len(docs))
	for i, d := range docs {
		d.Fields = f(d.Fields)
		out[i] = d
	}
	return out
}

// NewServer returns the handler that serves a store and what the options add. It refuses requests of web pages.
func NewServer(s store.Store, info Info, more ...Option) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+pathInfo, serve(func(*http.Request, nothing) (Info, error) { return info, nil }))
	mux.Handle("POST "+pathCommit, serve(func(r *http.Request, w []store.Write) (nothing, error) {
		for i := range w {
			w[i].Fields = unpack(w[i].Fields)
		}
		return true, s.Commit(r.Context(), w)
	}))
	mux.Handle("POST "+pathGet, serve(func(r *http.Request, p []store.Path) ([]store.Doc, error) {
		return packed(s.Get(r.Context(), p))
	}))
	mux.Handle("POST "+pathQuery, serve(func(r *http.Request, q store.Query) ([]store.Doc, error) {
		return packed(s.Query(r.Context(), q))
	}))
	for _, add := range more {
		add(mux)
	}
	return own(mux)
}

// own lets through requests of programs on this machine. A browser names the origin of the page that posts, and a
// page whose name was pointed at loopback after it was loaded still sends that name as the host.
func own(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values("Origin")) > 0 || !isLoopback(r.Host) {
			http.Error(w, "not from this machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether a Host header, with or without port, names this machine.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

func serve[In, Out any](do func(*http.Request, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := gob.NewDecoder(r.Body).Decode(wrap(&in)); err != nil {
			http.Error(w, "not a devlink request", http.StatusBadRequest)
			return
		}
		var out reply[Out]
		var err error
		if out.Result, err = do(r, in); err != nil {
			out.Code, out.Text = code.Of(err), text(err)
		}
		_ = gob.NewEncoder(w).Encode(&out) // the caller may have gone
	})
}

// box lets gob carry empty values, which it refuses on their own.
type box[T any] struct{ V *T }

func wrap[T any](v *T) *box[T] { return &box[T]{v} }

// text is an error's text without the code that travels beside it.
func text(err error) string {
	var e *code.Error
	if errors.As(err, &e) {
		return e.Op
	}
	return "devlink"
}
