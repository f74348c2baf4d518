package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"time"

	"github.com/usherhq/usher/internal/app"
)

// task is what a process of its own is to do, so that its CPU time is its own.
type task struct {
	Role string `json:"role"`
	Site site   `json:"site"`

	Messages int           `json:"messages,omitempty"` // to be handled
	Profile  string        `json:"profile,omitempty"`  // file for a CPU profile
	Twins    twinsTask     `json:"twins,omitzero"`
	Lease    leaseTask     `json:"lease,omitzero"`
	Burn     time.Duration `json:"burn,omitempty"`
}

// roles are what a child can be. Each writes its answer as one JSON object.
var roles = map[string]func(context.Context, task) (any, error){
	"floor":         drainRole(floor),
	"loop-20":       drainRole(func(ctx context.Context, t task, d *drained) error { return loop(ctx, t, d, 20) }),
	"loop-1000":     drainRole(func(ctx context.Context, t task, d *drained) error { return loop(ctx, t, d, 1000) }),
	"usher":         drainRole(usher),
	"usher-records": drainRole(usher),
	"twins":         twinsRole,
	"lease":         leaseRole,
	"burn":          burnRole,
}

// runChild does one task; args is its JSON.
func runChild(ctx context.Context, args []string, stdout io.Writer) error {
	var t task
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &t) != nil {
		return errors.New("child: want one task; this is for bench's own use")
	}
	role := roles[t.Role]
	if role == nil {
		return fmt.Errorf("child: no role %q", t.Role)
	}
	answer, err := role(ctx, t)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(answer)
}

// spawn runs a child and reads its answer.
func spawn(ctx context.Context, t task, answer any) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	arg, err := json.Marshal(t)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "child", string(arg)) //nolint:gosec // this very program
	cmd.Stderr = os.Stderr
	line, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("child %s: %w", t.Role, err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		return fmt.Errorf("child %s: its answer: %w", t.Role, err)
	}
	return nil
}

// withProfile calls do and writes its CPU profile to a file; without a name it only calls.
func withProfile(file string, do func() error) error {
	if file == "" {
		return do()
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

// drained is what a child says of its drain.
type drained struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"`
	Commits int64   `json:"commits"`
	Writes  int64   `json:"writes"`
	Reads   int64   `json:"reads"`
}

// drainRole measures a consumer from its start to its end.
func drainRole(consume func(context.Context, task, *drained) error) func(context.Context, task) (any, error) {
	return func(ctx context.Context, t task) (any, error) {
		var d drained
		err := withProfile(t.Profile, func() error {
			start, cpu := time.Now(), cpuTime()
			err := consume(ctx, t, &d)
			d.Seconds, d.CPU = time.Since(start).Seconds(), (cpuTime() - cpu).Seconds()
			return err
		})
		return d, err
	}
}

// usher is the daemon.
func usher(ctx context.Context, t task, d *drained) error {
	cfg, err := t.Site.config()
	if err != nil {
		return err
	}
	if err := app.TuneMemory(cfg); err != nil {
		return err
	}
	if err := app.TuneMemory(cfg); err != nil {
		return err
	}
	b, err := t.Site.open(ctx, cfg)
	if err != nil {
		return err
	}
	r, err := startDaemon(ctx, cfg, b)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	err = r.wait(ctx, int64(t.Messages))
	_, commits := r.daemon.Stats()
	d.Commits, d.Writes, d.Reads = commits.Commits, commits.Writes, commits.Reads
	return errors.Join(err, r.stop(), b.Close())
}

// burnRole keeps one core busy for a while.
func burnRole(ctx context.Context, t task) (any, error) {
	var spins uint64
	for end := time.Now().Add(t.Burn); time.Now().Before(end) && ctx.Err() == nil; {
		for range 1 << 20 {
			spins = spins*6364136223846793005 + 1
		}
	}
	return spins, nil
}
