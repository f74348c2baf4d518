//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/internal/testkit"
)

const serveFile = `
http: {host: 127.0.0.1}
endpoints:
  - {name: mdb, source: mdb_legacy, auth: {mode: url_token, secrets: [test-url-token-of-enough-bytes]}}
`

// lines is an output that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(what))
}

// startServe starts `usher serve` as a process of its own and returns its address.
func startServe(t *testing.T) (cmd *exec.Cmd, addr string, out *lines) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(file, []byte(serveFile), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	out = &lines{}
	cmd = exec.CommandContext(t.Context(), "usher", "serve", "--config", file)
	cmd.Env = append(os.Environ(), goRace+"="+quickExit, "FUNCTION_TARGET=", "PORT="+port,
		"PUBSUB_EMULATOR_HOST=127.0.0.1:1", "FIRESTORE_EMULATOR_HOST=127.0.0.1:1")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func(context.Context) bool {
		conn, err := net.Dial("tcp", addr)
		return err == nil && conn.Close() == nil
	}, "usher serve listens")
	return cmd, addr, out
}

// TestServeReceipts: every request that reaches usher leaves one receipt, those refused during shutdown too; what
// the framework's mux answers does not reach it.
func TestServeReceipts(t *testing.T) {
	t.Parallel()
	cmd, addr, out := startServe(t)
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer direct.CloseIdleConnections()
	post := func(path string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := direct.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	reached := map[int]int{}
	for path, want := range map[string]int{
		"/v1/ingest/mdb": 401, "/v1/ingest/nothing": 404, // usher's
		"/other": 404, "//v1/ingest/mdb": 307, "/v1/ingest/mdb/../mdb": 307, // the mux's
	} {
		if got := post(path); got != want {
			t.Errorf("POST %s: %d, want %d", path, got, want)
		}
	}
	reached[401], reached[404] = 1, 1

	// A request under way keeps the process draining.
	held, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	answers := bufio.NewReader(held)
	fmt.Fprint(held, "POST /v1/ingest/mdb HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(answers, nil)
	if err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("answer %v, %v, want that the body is waited for", resp, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func(context.Context) bool {
		status := post("/v1/ingest/mdb")
		reached[status]++
		return status == http.StatusServiceUnavailable
	}, "late requests are refused")
	fmt.Fprint(held, "{}")
	if resp, err = http.ReadResponse(answers, nil); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	reached[resp.StatusCode]++
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	total := 0
	for status, n := range reached {
		total += n
		if got := out.count(fmt.Sprintf(`"status":%d,`, status)); got != n {
			t.Errorf("%d receipts of status %d, want %d", got, status, n)
		}
	}
	if got := out.count(`"message":"receipt"`); got != total || reached[401] < 2 || reached[503] != 1 {
		t.Errorf("%d receipts for %d requests (%v)", got, total, reached)
	}
	if out.count(`"outcome":"failed","status":503`) != 1 {
		t.Error("the refusal is not logged as failed")
	}
}
