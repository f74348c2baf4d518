package functions

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

// logged is where the functions log: variables are set before init registers with os.Stdout.
var stdout, logged = captureStdout()

// captureStdout also sees to it that no function can be built, wherever the test runs.
func captureStdout() (original, captured *os.File) {
	if err := os.Setenv("USHER_LOG_LEVEL", "unheard-of"); err != nil {
		panic(err)
	}
	f, err := os.CreateTemp("", "functions-*.log")
	if err != nil {
		panic(err)
	}
	original, os.Stdout = os.Stdout, f
	return original, f
}

func TestMain(m *testing.M) {
	os.Stdout = stdout
	code := m.Run()
	if err := os.Remove(logged.Name()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// receipts counts what the functions have logged so far. A receipt is written before its answer is sent.
func receipts(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(logged.Name())
	if err != nil {
		t.Fatal(err)
	}
	n := bytes.Count(b, []byte(`"message":"receipt"`))
	// Nothing can be built: each request is refused before the handler.
	if refused := bytes.Count(b, []byte(`"severity":"ERROR","message":"receipt"`)); refused != n {
		t.Errorf("%d of %d receipts are errors:\n%s", refused, n, b)
	}
	return n
}

// TestRoutes serves the registered functions as the platform does, with and without a target. Each request that
// reaches them leaves a receipt; the framework's own mux answers the others. It is not parallel: the framework
// reads the target from the environment.
func TestRoutes(t *testing.T) {
	for _, tc := range []struct {
		target, path string
		status       int
	}{
		{"Ingest", "/v1/ingest/mdb", 503},
		{"Ingest", "/v1/ingest/mdb/acme", 503},
		{"Ingest", "/Ingest/v1/ingest/mdb", 503},
		{"Ingest", "/", 503},
		{"Ingest", "//v1/ingest/mdb", 307},
		{"Ingest", "/v1/ingest/mdb/../mdb", 307},
		{"", "/v1/ingest/mdb", 503},
		{"", "/v1/ingest/mdb/acme", 503},
		{"", "/Ingest", 503},
		{"", "/other", 404},
		{"", "//v1/ingest/mdb", 307},
		{"", "/v1/ingest/mdb/../mdb", 307},
	} {
		t.Run("target "+tc.target+" path "+tc.path, func(t *testing.T) {
			t.Setenv("FUNCTION_TARGET", tc.target)
			before := receipts(t)
			status, contentType := post(t, serve(t), tc.path)
			served := tc.status == 503
			// usher answers in JSON, the framework's own mux does not.
			if json := strings.HasPrefix(contentType, "application/json"); status != tc.status || json != served {
				t.Errorf("answer %d %s, want %d, from a function: %t", status, contentType, tc.status, served)
			}
			want := 0
			if served {
				want = 1
			}
			if got := receipts(t) - before; got != want {
				t.Errorf("%d receipts, want %d", got, want)
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
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header.Get("Content-Type")
}
