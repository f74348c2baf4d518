package gcpfirestore

import (
	"os"
	"testing"

	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/store/storetest"
)

// openEmulator opens the Firestore emulator, or skips the test when there is none.
func openEmulator(t *testing.T) *Client {
	t.Helper()
	host := os.Getenv("FIRESTORE_EMULATOR_HOST")
	if host == "" {
		if os.Getenv("USHER_REQUIRE_EMULATORS") == "1" {
			t.Fatal("FIRESTORE_EMULATOR_HOST is not set, and USHER_REQUIRE_EMULATORS=1 forbids a skip")
		}
		t.Skip("FIRESTORE_EMULATOR_HOST is not set: no Firestore emulator")
	}
	c, err := Open(t.Context(), Options{Project: "demo-storetest", EmulatorHost: host})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func TestConformance(t *testing.T) {
	t.Parallel()
	c := openEmulator(t)
	storetest.Run(t, func(*testing.T) store.Store { return c })
}
