package app

import (
	"testing"

	"github.com/usherhq/usher/internal/envelope"
)

func TestMain(m *testing.M) {
	// The coders are made by their first use; made within a synctest bubble they would belong to it.
	if _, err := envelope.Decompress(envelope.Compress([]byte("warm"))); err != nil {
		panic(err)
	}
	m.Run()
}
