package emulator

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTick is the unit of /proc's times: the kernel's USER_HZ is 100 on every architecture that Go supports.
const clockTick = 10 * time.Millisecond

// Fields of /proc/<pid>/stat, counted from the one after the command name.
const (
	statState = 0
	statGroup = 2
	statUser  = 11
	statSys   = 12
)

type process struct {
	state string
	cpu   time.Duration
}

// group lists the living processes of a group. A process that ends while being read is left out, and so are zombies:
// in a container nobody may reap them.
func group(pgid int) ([]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []process
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if p, g, ok := parseStat(b); ok && g == pgid && p.state != "Z" && p.state != "X" {
			out = append(out, p)
		}
	}
	return out, nil
}

// parseStat reads one stat line. The command name may hold spaces and parentheses, so fields start at the last one.
func parseStat(b []byte) (p process, pgid int, ok bool) {
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) <= statSys {
		return process{}, 0, false
	}
	pgid, err1 := strconv.Atoi(string(f[statGroup]))
	user, err2 := strconv.ParseInt(string(f[statUser]), 10, 64)
	sys, err3 := strconv.ParseInt(string(f[statSys]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return process{}, 0, false
	}
	return process{state: string(f[statState]), cpu: time.Duration(user+sys) * clockTick}, pgid, true
}

func groupRuns(pgid int) bool {
	ps, err := group(pgid)
	return err != nil || len(ps) > 0
}

func groupCPUTime(pgid int) (time.Duration, error) {
	ps, err := group(pgid)
	if err != nil {
		return 0, err
	}
	if len(ps) == 0 {
		return 0, fmt.Errorf("no process in group %d", pgid)
	}
	var sum time.Duration
	for _, p := range ps {
		sum += p.cpu
	}
	return sum, nil
}
