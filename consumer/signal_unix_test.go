//go:build unix

package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startProcess starts `usher dev` as a process of its own.
func startProcess(t *testing.T) (*exec.Cmd, *watched) {
	t.Helper()
	out := newWatched()
	cmd := exec.CommandContext(t.Context(), "usher", "dev", "--port", "0")
	cmd.Env = append(os.Environ(), goRace+"="+quickExit)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.ready:
	case <-time.After(time.Minute):
		t.Fatal("usher dev did not start")
	}
	return cmd, out
}

func TestSignalEndsCleanly(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd, _ := startProcess(t)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after %v: %v, want exit code 0", sig, err)
			}
		})
	}
}

// TestSecondSignalEndsAtOnce holds a request open, so that the first signal alone would wait out the grace.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	cmd, out := startProcess(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(out.ingest, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := "POST /v1/ingest/mdb HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("answer %q, %v, want that the body is waited for", line, err)
	}

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// A signal that came before the first was dealt with does not count as the second.
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
				t.Errorf("ended with %v, want to be ended by the second signal", err)
			}
			return
		case <-tick.C:
		}
	}
}
