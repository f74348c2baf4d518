package main

import (
	"fmt"
	"testing"

	"github.com/usherhq/usher/config"
)

// TestUsageReadsEveryShard ties the shards that are read to those that can be configured.
func TestUsageReadsEveryShard(t *testing.T) {
	t.Parallel()
	for shards, want := range map[int]bool{maxShards: true, maxShards + 1: false} {
		_, err := config.Load(config.Options{Env: []string{fmt.Sprintf("USHER_CONSUMER_USAGE_SHARDS=%d", shards)}})
		if got := err == nil; got != want {
			t.Errorf("usage_shards of %d can be configured: %v, want %v (%v)", shards, got, want, err)
		}
	}
}
