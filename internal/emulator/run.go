package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// grace is what a command has to end by itself after a signal: go test writes its report in far less.
const grace = 10 * time.Second

// RunOptions say how Run treats its command.
type RunOptions struct {
	// Kinds are the emulators to start, each unless its variable is set in Env already.
	Kinds []Kind
	// Require makes a missing emulator an error; otherwise Run says on Stderr what is missing and goes on without it.
	Require bool
	// Env is the environment of the command.
	Env []string
	// Stdout and Stderr are the command's.
	Stdout, Stderr io.Writer
	// Signals are sent on to the command, with every process that it started.
	Signals <-chan os.Signal
}

// Run starts emulators, runs a command with their variables set, stops the emulators whatever happened, and returns the
// command's exit code. The error is about the emulators or a command that could not be started.
func Run(ctx context.Context, command []string, opts RunOptions) (code int, err error) {
	if len(command) == 0 {
		return 0, errors.New("no command")
	}
	// A signal while the emulators start is the end: there is no command yet to pass it to.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started, env, err := startAll(ctx, cancel, opts)
	defer func() {
		for _, e := range started {
			err = errors.Join(err, e.Stop())
		}
	}()
	if err != nil {
		return 0, err
	}
	return runCommand(command, env, opts)
}

func startAll(ctx context.Context, cancel func(), opts RunOptions) (started []*Emulator, env []string, err error) {
	type result struct {
		e   *Emulator
		err error
	}
	env = opts.Env
	kinds := slices.DeleteFunc(slices.Clone(opts.Kinds), func(k Kind) bool { return hasVar(env, k.EnvVar()) })
	results := make([]chan result, len(kinds))
	for i, k := range kinds {
		results[i] = make(chan result, 1)
		go func() {
			e, err := Start(ctx, k, Options{})
			results[i] <- result{e, err}
		}()
	}
	for i, k := range kinds {
		var r result
		select {
		case r = <-results[i]:
		case <-opts.Signals:
			cancel()
			err = errors.Join(err, errors.New("interrupted"))
			r = <-results[i]
		}
		switch {
		case r.err == nil:
			started = append(started, r.e)
			env = append(slices.Clip(env), k.EnvVar()+"="+r.e.Host)
		case errors.Is(r.err, ErrNotInstalled) && !opts.Require:
			fmt.Fprintf(opts.Stderr, "no %s emulator: its suites will be skipped (%v)\n", k, r.err)
		default:
			err = errors.Join(err, r.err)
		}
	}
	return started, env, err
}

func hasVar(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return len(kv) > len(name)+1 && kv[:len(name)+1] == name+"=" })
}

// runCommand runs the command in a process group of its own, so that each signal reaches it and its children once.
func runCommand(command, env []string, opts RunOptions) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append([]string{}, env...) // nil would mean this process's own
	cmd.Stdout, cmd.Stderr = opts.Stdout, opts.Stderr
	cmd.WaitDelay = grace
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run command: %w", err)
	}
	done := make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(cmd.Process.Pid, opts.Signals, done)
	}()
	err := cmd.Wait()
	close(done)
	<-forwarded
	err = errors.Join(err, killGroup(cmd.Process.Pid))
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitCode(exit), nil
	}
	if err != nil {
		return 0, fmt.Errorf("run command: %w", err)
	}
	return 0, nil
}

// forward passes signals on until done; a command that outlives the grace after the first one is killed.
func forward(pgid int, signals <-chan os.Signal, done <-chan struct{}) {
	var late <-chan time.Time
	for {
		select {
		case <-done:
			return
		case <-late:
			_ = killGroup(pgid) // nothing better to do; Run's caller sees the exit code
			return
		case s := <-signals:
			signalGroup(pgid, s)
			if late == nil {
				late = time.After(grace)
			}
		}
	}
}

// exitCode follows the shell: 128 plus the signal for a command that a signal ended.
func exitCode(exit *exec.ExitError) int {
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}
