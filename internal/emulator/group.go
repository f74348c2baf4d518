package emulator

import (
	"fmt"
	"time"
)

// killWait is how long the kernel may take to end killed processes: a JVM with a large heap needs a moment.
const killWait = 10 * time.Second

// waitGroup waits until no process of the group runs.
func waitGroup(pgid int) error {
	for end := time.Now().Add(killWait); groupRuns(pgid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process group %d still runs %s after it was killed", pgid, killWait)
		}
	}
	return nil
}
