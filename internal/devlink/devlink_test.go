package devlink_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/memstore"
	"github.com/usherhq/usher/internal/store/storetest"
)

func serve(t *testing.T, h http.Handler) *devlink.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := devlink.Dial(strings.TrimPrefix(srv.URL, "http://"))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestClientKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		return serve(t, devlink.NewServer(memstore.New(memstore.Options{}), devlink.Info{}))
	})
}

func TestInfo(t *testing.T) {
	t.Parallel()
	want := devlink.Info{IngestURL: "http://127.0.0.1:1", Endpoints: []devlink.Endpoint{{Name: "mdb", Source: "mdb_legacy"}}}
	c := serve(t, devlink.NewServer(memstore.New(memstore.Options{}), want))
	got, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler http.Handler
		want    code.Code
	}{
		"refused":      {http.NotFoundHandler(), code.Invalid},
		"cut answer":   {http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), code.Unavailable},
		"cut off":      {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), code.Unavailable},
		"no such path": {http.NotFoundHandler(), code.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := serve(t, tt.handler).Info(t.Context())
			if code.Of(err) != tt.want {
				t.Errorf("error %v, want code %v", err, tt.want)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		_, err := devlink.Dial("127.0.0.1:1").Info(t.Context())
		if code.Of(err) != code.Unavailable || !strings.Contains(err.Error(), "usher dev") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("not a request", func(t *testing.T) {
		t.Parallel()
		srv := httptest.NewServer(devlink.NewServer(memstore.New(memstore.Options{}), devlink.Info{}))
		defer srv.Close()
		resp, err := http.Post(srv.URL+"/devlink/get", "", strings.NewReader("junk"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, want 400", resp.StatusCode)
		}
	})
}

// TestOnlyThisMachine: a web page cannot use the store, neither from its own origin nor under a name that it points
// at loopback. Whoever gets through is told that a body is missing.
func TestOnlyThisMachine(t *testing.T) {
	t.Parallel()
	h := devlink.NewServer(memstore.New(memstore.Options{}), devlink.Info{}, devlink.WithTopics(nil))
	for _, tt := range []struct {
		name, host string
		origin     []string
		want       int
	}{
		{"address", "127.0.0.1:8080", nil, http.StatusBadRequest},
		{"address without port", "127.0.0.1", nil, http.StatusBadRequest},
		{"another loopback address", "127.8.9.10:1", nil, http.StatusBadRequest},
		{"IPv6", "[::1]:8080", nil, http.StatusBadRequest},
		{"IPv6 without port", "[::1]", nil, http.StatusBadRequest},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:8080", nil, http.StatusBadRequest},
		{"name", "localhost:8080", nil, http.StatusBadRequest},
		{"name in capitals", "LOCALHOST", nil, http.StatusBadRequest},
		{"no host", "", nil, http.StatusForbidden},
		{"rebound name", "page.example.com:8080", nil, http.StatusForbidden},
		{"name that starts like ours", "localhost.example.com", nil, http.StatusForbidden},
		{"name that starts like an address", "127.0.0.1.example.com", nil, http.StatusForbidden},
		{"address of another machine", "192.0.2.1:8080", nil, http.StatusForbidden},
		{"any address", "0.0.0.0:8080", nil, http.StatusForbidden},
		{"page", "127.0.0.1:8080", []string{"https://page.example.com"}, http.StatusForbidden},
		{"page from loopback", "localhost:8080", []string{"http://localhost:8080"}, http.StatusForbidden},
		{"sandboxed page", "127.0.0.1:8080", []string{"null"}, http.StatusForbidden},
		{"empty origin", "127.0.0.1:8080", []string{""}, http.StatusForbidden},
	} {
		for _, path := range []string{"/devlink/info", "/devlink/commit", "/devlink/get", "/devlink/query", "/devlink/publish"} {
			t.Run(tt.name+path, func(t *testing.T) {
				t.Parallel()
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
				r.Host = tt.host
				if tt.origin != nil {
					r.Header["Origin"] = tt.origin
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != tt.want {
					t.Errorf("status %d, want %d", w.Code, tt.want)
				}
			})
		}
	}
}
