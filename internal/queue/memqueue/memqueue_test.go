package memqueue_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range queuetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { c.Run(t, memqueue.New(memqueue.Options{})) })
		})
	}
}
