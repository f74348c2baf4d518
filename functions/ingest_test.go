package functions

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

// TestRoutes serves the registered functions as the platform does, with and without a target. It is not
// parallel: the framework reads the target from the environment.
func TestRoutes(t *testing.T) {
	for _, tc := range []struct {
		target, path string
		served       bool
	}{
		{"Ingest", "/v1/ingest/mdb", true},
		{"Ingest", "/v1/ingest/mdb/acme", true},
		{"Ingest", "/Ingest/v1/ingest/mdb", true},
		{"Ingest", "/", true},
		{"", "/v1/ingest/mdb", true},
		{"", "/v1/ingest/mdb/acme", true},
		{"", "/Ingest", true},
		{"", "/other", false},
	} {
		t.Run("target "+tc.target+" path "+tc.path, func(t *testing.T) {
			t.Setenv("FUNCTION_TARGET", tc.target)
			status, contentType := post(t, serve(t), tc.path)
			// usher answers in JSON, the framework's own mux does not.
			if got := strings.HasPrefix(contentType, "application/json"); got != tc.served {
				t.Errorf("answer %d %s, want it from a function: %t", status, contentType, tc.served)
			}
		})
	}
}

// serve starts the framework on a free port and returns its URL. The framework has no way to stop; it ends
// with the test binary.
func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	failed := make(chan error, 1)
	go func() { failed <- funcframework.StartHostPort(host, port) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
			c.Close()
			return "http://" + net.JoinHostPort(host, port)
		}
		select {
		case err := <-failed:
			t.Fatal(err)
		case <-t.Context().Done():
			t.Fatal("not served in time")
		case <-tick.C:
		}
	}
}

func post(t *testing.T, url, path string) (status int, contentType string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header.Get("Content-Type")
}
