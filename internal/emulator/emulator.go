// Package emulator starts and stops Google's Pub/Sub and Firestore emulators for tests and benchmarks.
//
// Each emulator runs in a process group of its own on a free loopback port, so that stopping it leaves no process
// behind, whatever gcloud started beneath it. It also ends with the process that started it, however that dies.
package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// ErrNotInstalled is returned by Find and Start when gcloud, the emulator's component or Java is missing.
var ErrNotInstalled = errors.New("emulator not installed")

const (
	// startTimeout covers gcloud's Python, the JVM and a machine busy with compiling: 2-4 s when it is idle.
	startTimeout = 60 * time.Second
	// startTries allows for a port that somebody took between its choice and its use.
	startTries = 3
	// pollEvery is short beside the start of a JVM and long beside a refused connection.
	pollEvery = 50 * time.Millisecond
	// logTail is how much of the emulator's output an error carries.
	logTail = 2 << 10
)

// Options are the optional settings of Start.
type Options struct {
	// Project is the project named to gcloud; the emulators serve any project. Default "demo-usher".
	Project string
	// Timeout bounds one try to start. Default one minute.
	Timeout time.Duration
}

// Emulator is one running emulator.
type Emulator struct {
	// Host is the host:port that clients dial and that Kind.EnvVar carries.
	Host string
	// Pid is the process id of gcloud, which is also the id of the process group.
	Pid int

	kind   Kind
	dir    string
	exited chan struct{}
	stop   func() error
}

// Start runs an emulator of the kind and returns when it answers. The caller must Stop it; the end of ctx only ends the
// wait for readiness. It returns ErrNotInstalled when the machine lacks gcloud, the component or Java.
func Start(ctx context.Context, kind Kind, opts Options) (*Emulator, error) {
	gcloud, err := Find(ctx, kind)
	if err != nil {
		return nil, err
	}
	if opts.Project == "" {
		opts.Project = "demo-usher"
	}
	if opts.Timeout <= 0 {
		opts.Timeout = startTimeout
	}
	var errs []error
	for range startTries {
		e, err := start(ctx, gcloud, kind, opts)
		if err == nil {
			return e, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || !errors.Is(err, errExited) {
			break
		}
	}
	return nil, fmt.Errorf("start %s emulator: %w", kind, errors.Join(errs...))
}

// errExited means that the process ended before it was ready: most often because its port was taken.
var errExited = errors.New("exited before it was ready")

func start(ctx context.Context, gcloud string, kind Kind, opts Options) (*Emulator, error) {
	host, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "usher-emulator-")
	if err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	e := &Emulator{Host: host, kind: kind, dir: dir, exited: make(chan struct{})}
	e.stop = sync.OnceValue(e.kill)
	if err := e.launch(gcloud, opts.Project); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout, fmt.Errorf("not ready within %s", opts.Timeout))
	defer cancel()
	if err := e.ready(ctx); err != nil {
		tail := e.tail()
		return nil, errors.Join(fmt.Errorf("%w; its last output:\n%s", err, tail), e.Stop())
	}
	return e, nil
}

// launch starts the process. Its output goes to a file, not a pipe: a pipe that a grandchild keeps open blocks Wait.
func (e *Emulator) launch(gcloud, project string) error {
	log, err := os.Create(e.logPath())
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	defer log.Close() // the process has its own descriptor

	args := append(strings.Fields(kinds[e.kind].command), "start", "--host-port="+e.Host, "--project="+project)
	if kinds[e.kind].dataDir {
		args = append(args, "--data-dir="+e.dir)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	defer theirs.Close()
	// Not CommandContext: an emulator outlives the context of its start and ends with Stop.
	cmd := lifeline(theirs, gcloud, args)
	cmd.Env = append(cmd.Environ(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	cmd.Stdout, cmd.Stderr = log, log
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("run gcloud: %w", err), ours.Close())
	}
	e.Pid = cmd.Process.Pid
	go func() {
		defer ours.Close()
		_ = cmd.Wait() // an emulator only ever ends by a signal; ready and Stop look at exited
		close(e.exited)
	}()
	return nil
}

// ready waits until the emulator answers HTTP on its port: both kinds answer GET / with "Ok".
func (e *Emulator) ready(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.exited:
			return errExited
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if answers(ctx, e.Host) {
			return nil
		}
	}
}

func answers(ctx context.Context, host string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16))
	return err == nil && resp.StatusCode == http.StatusOK && strings.TrimSpace(string(body)) == "Ok"
}

// Stop kills the emulator's process group and waits until no process of it is left. Emulators hold nothing worth
// a graceful end. It may be called more than once; each call returns the first one's result.
func (e *Emulator) Stop() error { return e.stop() }

func (e *Emulator) kill() error {
	if err := killGroup(e.Pid); err != nil {
		return fmt.Errorf("stop %s emulator: %w", e.kind, err)
	}
	<-e.exited
	if err := waitGroup(e.Pid); err != nil {
		return fmt.Errorf("stop %s emulator: %w", e.kind, err)
	}
	if err := os.RemoveAll(e.dir); err != nil {
		return fmt.Errorf("stop %s emulator: %w", e.kind, err)
	}
	return nil
}

// Exited is closed when the emulator has ended, by Stop or by itself.
func (e *Emulator) Exited() <-chan struct{} { return e.exited }

// CPUTime returns the processor time that the emulator's processes have used so far. Differences between two calls are
// what a benchmark wants: the first value includes the start. Only Linux can tell; elsewhere it returns
// errors.ErrUnsupported.
func (e *Emulator) CPUTime() (time.Duration, error) {
	d, err := groupCPUTime(e.Pid)
	if err != nil {
		return 0, fmt.Errorf("processor time of %s emulator: %w", e.kind, err)
	}
	return d, nil
}

func (e *Emulator) logPath() string { return filepath.Join(e.dir, "output.log") }

func (e *Emulator) tail() string {
	b, err := os.ReadFile(e.logPath())
	if err != nil {
		return "(no output: " + err.Error() + ")"
	}
	return string(b[max(0, len(b)-logTail):])
}

// freePort returns a loopback address that was free a moment ago.
func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	host := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return host, nil
}
