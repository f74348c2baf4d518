// Command usher is usher's daemon and the operator's command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainCode()) }

// mainCode runs the command line and returns the exit code: 0, 1 for an error, 2 for a command line that makes
// no sense.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // after the first signal, the next one ends the process at once
	c := &cli{program: os.Args[0], env: os.Environ(), stdout: os.Stdout, stderr: os.Stderr}
	err := c.run(ctx, os.Args[1:])
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "usher: "+err.Error())
	if errors.As(err, new(*usageError)) {
		return 2
	}
	return 1
}
