package ingest

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/web"
)

// Handle is [web.Handle] for what stands before a [Handler] and may refuse a request that the handler then
// never sees: an error is answered as it says and leaves the request's receipt, of outcome failed. After a nil
// error nothing is logged here: the handler has left the receipt.
func Handle(logger *slog.Logger, h web.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		err := h(w, r)
		if err == nil {
			return
		}
		rec := web.NewRecorder(w)
		web.WriteError(rec, err)
		rc := receipt{
			executionID: web.ExecutionID(r), outcome: source.Failed, status: rec.Status(), latency: time.Since(start), err: err,
		}
		rc.log(r.Context(), logger)
	})
}
