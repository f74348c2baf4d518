package dispatch_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/usherhq/usher/internal/commit"
	"github.com/usherhq/usher/internal/dispatch"
)

// BenchmarkHandle is the cost of dispatching alone, with hundreds of messages at once as a daemon has them: the
// committer takes everything at once.
func BenchmarkHandle(b *testing.B) {
	d := setup(b, nil, func(o *dispatch.Options) {
		o.Committer = committerFunc(func(context.Context, *commit.Item) error { return nil })
		o.Logger, o.SuccessSample, o.TenantConcurrency = slog.New(slog.DiscardHandler), 0, 1000
	})
	m := message(b, event("evt_a", "t1", "ada"))
	b.ReportAllocs()
	b.SetParallelism(200)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			d.Handle(b.Context(), m)
		}
	})
}
