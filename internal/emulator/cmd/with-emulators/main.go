// Command with-emulators runs a command with Google's emulators started around it.
//
//	with-emulators -- go test ./...
//
// It sets PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST, leaving alone what is set already, and exits with the
// command's code. Emulators that are not installed are named and left out; USHER_REQUIRE_EMULATORS=1 makes that an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/usherhq/usher/internal/emulator"
)

func main() {
	flag.Parse()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	code, err := emulator.Run(context.Background(), flag.Args(), emulator.RunOptions{
		Kinds:   []emulator.Kind{emulator.PubSub, emulator.Firestore},
		Require: os.Getenv("USHER_REQUIRE_EMULATORS") == "1",
		Env:     os.Environ(),
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Signals: signals,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "with-emulators:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}
