package profile

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "add new leaves to the golden file")

// TestLeavesAreStable: stored stamps name leaves by hash and hold their rank, so that a leaf may be added but
// none may be renamed, and no two may share a hash.
func TestLeavesAreStable(t *testing.T) {
	t.Parallel()
	const file = "testdata/leaves.golden"
	var lines strings.Builder
	now, byHash := map[string]bool{}, map[uint32]string{}
	for _, l := range leaves {
		if other, ok := byHash[l.hash]; ok {
			t.Errorf("%s and %s have one hash", l.path, other)
		}
		byHash[l.hash] = l.path
		line := fmt.Sprintf("%s %08x ranked=%v", l.path, l.hash, l.ranked)
		now[line] = true
		lines.WriteString(line + "\n")
	}
	golden, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	was := map[string]bool{}
	for line := range strings.Lines(string(golden)) {
		line = strings.TrimSpace(line)
		was[line] = true
		if !now[line] {
			t.Errorf("leaf %q was changed or removed: stored profiles know it", line)
		}
	}
	for line := range now {
		if !was[line] && !*update {
			t.Errorf("leaf %q is new: run with -update", line)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
