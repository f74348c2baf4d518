package gcppubsub_test

import (
	"os"
	"testing"

	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/queue/gcppubsub"
	"github.com/usherhq/usher/internal/queue/queuetest"
)

const project = "demo-usher"

func TestConformance(t *testing.T) {
	t.Parallel()
	host := emulator(t)
	queuetest.Run(t, func(t *testing.T) queue.Queue { return open(t, gcppubsub.Options{EmulatorHost: host}) })
}

// emulator returns the address of the Pub/Sub emulator, or skips the test.
func emulator(t *testing.T) string {
	t.Helper()
	host := os.Getenv("PUBSUB_EMULATOR_HOST")
	if host == "" {
		if os.Getenv("USHER_REQUIRE_EMULATORS") == "1" {
			t.Fatal("PUBSUB_EMULATOR_HOST is not set and USHER_REQUIRE_EMULATORS=1")
		}
		t.Skip("needs the Pub/Sub emulator: PUBSUB_EMULATOR_HOST is not set")
	}
	return host
}

func open(t *testing.T, o gcppubsub.Options) *gcppubsub.Client {
	t.Helper()
	o.Project = project
	c, err := gcppubsub.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}
