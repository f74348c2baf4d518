//go:build unix

package main

import (
	"fmt"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// pause stops every process of a group where it is; resume lets it go on.
func pause(pgid int) error { return signalGroup(pgid, syscall.SIGSTOP) }

func resume(pgid int) error { return signalGroup(pgid, syscall.SIGCONT) }

func signalGroup(pgid int, s syscall.Signal) error {
	if err := syscall.Kill(-pgid, s); err != nil {
		return fmt.Errorf("%s to process group %d: %w", s, pgid, err)
	}
	return nil
}
