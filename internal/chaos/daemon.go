package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// daemon is one process of usher.
type daemon struct {
	name    string
	cmd     *exec.Cmd
	ready   chan struct{} // closed when it receives
	exited  chan struct{} // closed when it has ended; code and tail are set then
	once    sync.Once
	stderr  tail
	ended   bool // by the suite
	waitErr error
}

// killWait is how long the kernel and its pipes may take to end a process.
const killWait = 30 * time.Second

// startWait is how long a daemon may take to be ready, on a machine busy with other things.
const startWait = 2 * time.Minute

// start runs a daemon behind the proxies and returns when it receives.
func (r *rig) start(ctx context.Context) (*daemon, error) {
	d := &daemon{
		name:  fmt.Sprintf("%s-%d", r.name, len(r.daemons)+1),
		ready: make(chan struct{}), exited: make(chan struct{}),
	}
	// Not CommandContext: a daemon ends when the scenario says how, at the latest in rig.close.
	d.cmd = exec.Command(r.s.usher, "run") //nolint:gosec,noctx // see above; the binary is the suite's own or the caller's
	d.cmd.Env = append(slices.DeleteFunc(os.Environ(), ours), r.environment()...)
	d.cmd.SysProcAttr = ownGroup() // Ctrl-C is for the suite, which then stops its daemons
	d.cmd.Stderr = &d.stderr
	d.cmd.WaitDelay = killWait
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start daemon: %w", err)
	}
	log, err := r.logFile(d.name)
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start daemon: %w", err), log.Close())
	}
	r.daemons = append(r.daemons, d)
	go d.watch(out, log, r.ledger)
	t := time.NewTimer(startWait)
	defer t.Stop()
	select {
	case <-d.ready:
		return d, nil
	case <-d.exited:
		return nil, fmt.Errorf("daemon %s ended before it was ready: %w: %s", d.name, d.waitErr, d.stderr.String())
	case <-t.C:
		return nil, fmt.Errorf("daemon %s is not ready after %s", d.name, startWait)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ours reports whether a variable would configure the daemon.
func ours(kv string) bool {
	return strings.HasPrefix(kv, "USHER_") || strings.HasPrefix(kv, "PUBSUB_EMULATOR_HOST=") ||
		strings.HasPrefix(kv, "FIRESTORE_EMULATOR_HOST=") || strings.HasPrefix(kv, "GOOGLE_CLOUD_PROJECT=")
}

// watch reads the daemon's log to its end and waits for the process.
func (d *daemon) watch(out io.Reader, log io.WriteCloser, to *ledger) {
	lines := bufio.NewReaderSize(out, 64<<10)
	for {
		b, err := lines.ReadBytes('\n')
		if l, ok := parseLine(b); ok {
			to.add(&l)
			if l.Message == "daemon started" {
				d.once.Do(func() { close(d.ready) })
			}
		}
		_, _ = log.Write(b) // it is for reading afterwards
		if err != nil {
			break
		}
	}
	_ = log.Close()
	d.waitErr = d.cmd.Wait()
	close(d.exited)
}

// logFile is where a daemon's log is kept, nowhere unless asked for.
func (r *rig) logFile(name string) (io.WriteCloser, error) {
	if r.s.o.logs == "" {
		return nowhere{io.Discard}, nil
	}
	f, err := os.Create(filepath.Join(r.s.o.logs, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("daemon's log: %w", err)
	}
	return f, nil
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// kill ends the daemon without warning and returns when it is gone.
func (d *daemon) kill() error {
	d.ended = true
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill daemon %s: %w", d.name, err)
	}
	return d.wait(killWait)
}

// terminate asks the daemon to end and returns how long it took. Anything but exit code 0 is an error, and so is more
// time than Cloud Run would give it.
func (d *daemon) terminate() (time.Duration, error) {
	d.ended = true
	began := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("terminate daemon %s: %w", d.name, err)
	}
	if err := d.wait(platformGrace); err != nil {
		return 0, errors.Join(err, d.kill())
	}
	if d.waitErr != nil {
		return 0, fmt.Errorf("daemon %s after SIGTERM: %w: %s", d.name, d.waitErr, d.stderr.String())
	}
	return time.Since(began), nil
}

// platformGrace is what Cloud Run allows between SIGTERM and SIGKILL.
const platformGrace = 10 * time.Second

func (d *daemon) wait(limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-d.exited:
		return nil
	case <-t.C:
		return fmt.Errorf("daemon %s still runs after %s", d.name, limit)
	}
}

// running reports whether the process is there.
func (d *daemon) running() bool {
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// tail keeps the end of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailLength {
		t.b = slices.Clone(t.b[len(t.b)-tailLength:])
	}
	return len(p), nil
}

const tailLength = 2 << 10

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
