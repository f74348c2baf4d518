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
