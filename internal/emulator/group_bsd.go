//go:build unix && !linux

package emulator

import (
	"errors"
	"syscall"
	"time"
)

func groupRuns(pgid int) bool { return !errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH) }

func groupCPUTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
