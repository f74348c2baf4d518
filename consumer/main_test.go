package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain makes the test binary stand in for usher, and finds goroutines that a command left behind.
func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){"usher": main})
}

// opencensus is started by the init of a library of the Google clients.
const opencensus = "go.opencensus.io/stats/view.(*worker).start"

type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(goleak.IgnoreTopFunction(opencensus)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// The race detector has each process sleep for a second at its end.
const goRace, quickExit = "GORACE", "atexit_sleep_ms=0"

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("USHER_LOG_LEVEL", "error")
			e.Setenv(goRace, quickExit)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"usherdev": usherDev, "code": exitCode, "freeport": freePort, "await": await, "field": field, "same": same,
			"letter": letter, "stored": storedEvents, "redriven": redrivenTenant,
			"status": storedStatus, "show": shown,
		},
	})
}

// usherDev starts `usher dev` in this process and sets USHER_DEV_ADDR and INGEST to what it prints.
func usherDev(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! usherdev")
	}
	d := startDev(io.Discard, args...)
	ts.Defer(func() { ts.Check(d.stop()) })
	ts.Check(d.wait())
	ts.Setenv("USHER_DEV_ADDR", d.out.addr)
	ts.Setenv("INGEST", d.out.ingest)
}

// dev is an `usher dev` in this process.
type dev struct {
	out    *watched
	cancel context.CancelFunc
	ended  chan error
}

func startDev(stderr io.Writer, args ...string) *dev {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dev{newWatched(), cancel, make(chan error, 1)}
	go func() { d.ended <- run(ctx, append([]string{"dev", "--port", "0"}, args...), nil, d.out, stderr) }()
	return d
}

// wait waits until it has printed its addresses.
func (d *dev) wait() error {
	select {
	case <-d.out.ready:
		return nil
	case err := <-d.ended:
		d.ended <- err
		return fmt.Errorf("usher dev ended: %w", err)
	case <-time.After(time.Minute):
		return errors.New("usher dev did not start")
	}
}

func (d *dev) stop() error {
	d.cancel()
	return <-d.ended
}

// watched waits for what `usher dev` prints.
type watched struct {
	mu           sync.Mutex
	buf          bytes.Buffer
	once         sync.Once
	ready        chan struct{}
	addr, ingest string // once ready
}

var (
	devAddr   = regexp.MustCompile(`export USHER_DEV_ADDR=(\S+)\n`)
	ingestURL = regexp.MustCompile(`(http://\S+)/v1/ingest/`)
)

func newWatched() *watched { return &watched{ready: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if m := devAddr.FindSubmatch(w.buf.Bytes()); m != nil {
		w.once.Do(func() {
			w.addr, w.ingest = string(m[1]), string(ingestURL.FindSubmatch(w.buf.Bytes())[1])
			close(w.ready)
		})
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// exitCode runs usher and compares its exit code: code 2 tenant create.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: code N [args]")
	}
	got := "0"
	if err := ts.Exec("usher", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("usher: %v", err)
		}
		got = fmt.Sprint(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// freePort sets a variable to a port that is free now.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Check(l.Close())
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// await waits until a URL is answered.
func await(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
		ts.Check(err)
		req.Close = true
		if resp, err := http.DefaultClient.Do(req); err == nil {
			ts.Check(resp.Body.Close())
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s is not answered", args[0])
		case <-tick.C:
		}
	}
}

// field sets a variable to a value of JSON on the standard output: field VAR a.0.b.
func field(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, key := range strings.Split(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			var i int
			_, err := fmt.Sscan(key, &i)
			ts.Check(err)
			if i >= len(x) {
				ts.Fatalf("%s: the list has %d", args[1], len(x))
			}
			v = x[i]
		}
	}
	if v == nil {
		ts.Fatalf("no %s in the output", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// same compares two values.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || (args[0] == args[1]) == neg {
		ts.Fatalf("same: %q", args)
	}
}

// run executes one command line of "bin/usher".
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) error {
	return (&cli{program: "bin/usher", env: env, stdout: stdout, stderr: stderr}).run(ctx, args)
}

// runHere runs usher in this process.
func runHere(t *testing.T, env []string, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, env, &out, &errs)
	if errs.Len() > 0 {
		t.Logf("stderr of usher %s:\n%s", strings.Join(args, " "), errs.String())
	}
	return out.String(), err
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
