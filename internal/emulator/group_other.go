//go:build !unix

package emulator

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

// Without process groups only gcloud itself is ended.

func ownGroup(*exec.Cmd) {}

func lifeline(_ *os.File, name string, args []string) *exec.Cmd { return exec.Command(name, args...) }

func signalGroup(pid int, _ os.Signal) { _ = killGroup(pid) }

func killGroup(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil // already gone
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func groupRuns(int) bool { return false }

func groupCPUTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
