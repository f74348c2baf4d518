// Command gotest runs "go test" and says at the end which tests were skipped, and why.
//
// Its arguments are go test's. It prints one line per package and the output of failed tests, as go test does, and exits
// with go test's code. USHER_REQUIRE_EMULATORS=1 makes any skip a failure.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	code, err := run(os.Args[1:], os.Getenv("USHER_REQUIRE_EMULATORS") == "1")
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string, noSkips bool) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run go test: %w", err)
	}
	r := newReport(os.Stdout)
	readErr := r.read(out)
	if readErr != nil {
		_ = cmd.Process.Kill() // nobody reads its output any more
	}
	err = errors.Join(readErr, cmd.Wait())
	skipped := r.summary()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && readErr == nil {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("run go test: %w", err)
	}
	if noSkips && skipped > 0 {
		return 0, fmt.Errorf("%d tests were skipped, and USHER_REQUIRE_EMULATORS=1 allows none", skipped)
	}
	return 0, nil
}
