//go:build unix

package emulator

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// lifeline is a command whose process group is killed when the other end of the pipe closes, as it does when this process
// dies, by whatever signal.
func lifeline(pipe *os.File, name string, args []string) *exec.Cmd {
	const watch = `(read -r _ <&3; kill -KILL 0) & exec "$0" "$@" 3<&-`
	cmd := exec.Command("/bin/sh", append([]string{"-c", watch, name}, args...)...)
	cmd.ExtraFiles = []*os.File{pipe}
	return cmd
}

// signalGroup passes a signal on. A group that has just ended is fine.
func signalGroup(pgid int, s os.Signal) {
	if sig, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(-pgid, sig)
	}
}

// killGroup ends every process of the group. A group that is already gone is fine.
func killGroup(pgid int) error {
	if err := syscall.Kill(-pgid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", pgid, err)
	}
	return nil
}
