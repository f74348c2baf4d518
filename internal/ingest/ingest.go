// Package ingest receives vendors' webhooks over HTTP: it verifies, resolves, publishes and only then answers.
//
// A success status means that Pub/Sub has acknowledged every event of the body, or that the webhook was
// refused on purpose and counted. Whatever is authentic and cannot be used is parked as a dead letter. Every
// request that gets here leaves exactly one receipt in the log, which holds no personal data.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/web"
)

// Prefix is the path below which endpoints are served: Prefix + endpoint, or Prefix + endpoint + "/" + tenant.
// Whatever stands before it, such as a function's name, is ignored.
const Prefix = "/v1/ingest/"

var errTimeout = errors.New("publish timeout")

// Handler answers POST /v1/ingest/{endpoint} and /v1/ingest/{endpoint}/{tenant}.
type Handler struct {
	opts      Options
	endpoints map[string]*Endpoint
	resolver  *resolve.Resolver
}

// New returns a handler. It returns an error that names every problem of the options.
func New(o Options) (*Handler, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("ingest options: %w", err)
	}
	h := &Handler{
		opts:      o.withDefaults(),
		endpoints: make(map[string]*Endpoint, len(o.Endpoints)),
		resolver:  resolve.New(o.Finder),
	}
	for i := range o.Endpoints {
		ep := o.Endpoints[i]
		h.endpoints[ep.Name] = &ep
	}
	return h, nil
}

// ServeHTTP answers one request and logs its receipt.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := web.NewRecorder(w)
	rc := &receipt{executionID: web.ExecutionID(r), outcome: source.NoEndpoint}
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			h.panicked(r.Context(), rec, rc, p)
		}
		rc.status, rc.latency = rec.Status(), time.Since(start)
		rc.log(r.Context(), h.opts.Logger)
	}()
	reply := h.handle(rec, r, rc)
	web.WriteJSON(rec, reply.Status, reply.Body)
}

// panicked answers for a handler that panicked, if it is not too late, and logs where. The value may quote
// the payload, so only the runtime's own texts are logged.
func (h *Handler) panicked(ctx context.Context, rec *web.Recorder, rc *receipt, p any) {
	rc.outcome = source.Failed
	what := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		what = e.Error()
	}
	h.opts.Logger.ErrorContext(ctx, "ingest panicked", "panic", what, "stack", string(debug.Stack()))
	if rec.Status() == 0 {
		reply := source.Fail(http.StatusInternalServerError, "Processing failed")
		web.WriteJSON(rec, reply.Status, reply.Body)
	}
}

// handle does everything but write the reply, and fills the receipt.
func (h *Handler) handle(w http.ResponseWriter, r *http.Request, rc *receipt) source.Reply {
	name, tenant := route(r.URL.Path)
	ep := h.endpoints[name]
	if ep == nil {
		return source.DefaultReply(source.Result{Outcome: source.NoEndpoint})
	}
	rc.endpoint, rc.source = ep.Name, ep.Adapter.Info().Name
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return rc.reply(ep, source.Result{Outcome: source.BadMethod})
	}
	body, err := web.ReadBody(w, r, h.opts.MaxBody)
	rc.bytes = len(body)
	switch {
	case errors.Is(err, web.ErrTooLarge):
		return rc.reply(ep, source.Result{Outcome: source.TooLarge})
	case err != nil:
		// Nobody knows yet whether it is authentic, so no source may answer 200 for it.
		rc.outcome = source.BadRequest
		return source.Fail(http.StatusBadRequest, "Body could not be read")
	}
	req := request{Endpoint: ep, body: body, header: r.Header}
	req.Tenant, req.Origin = tenant, visitor.OriginWebhook
	req.Receipt = visitor.Receipt{ReceivedAt: h.opts.Now(), FunctionExecutionID: rc.executionID}
	req.VerifiedID, err = ep.Verifier.Verify(&signature.Request{
		Header: r.Header, Query: r.URL.Query(), Body: body,
		Endpoint: ep.Name, Tenant: tenant, Now: req.Receipt.ReceivedAt,
	})
	if err != nil {
		return rc.reply(ep, source.Result{Outcome: source.Unauthenticated})
	}
	// From here on the webhook is usher's: it is finished even when the vendor hangs up.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(r.Context()), h.opts.PublishTimeout, errTimeout)
	defer cancel()
	res, err := h.accept(ctx, &req, rc)
	if err != nil {
		rc.err, res = err, source.Result{Outcome: source.Failed}
	}
	return rc.reply(ep, res)
}

// route finds the endpoint and the tenant in a path, "" for none. There is no mux here because a mux answers
// unclean paths, such as "//v1/ingest/mdb", by redirects, which leave no receipt. The functions framework has
// one in front all the same: what that redirects does not get here.
func route(path string) (endpoint, tenant string) {
	_, rest, ok := strings.Cut(path, Prefix)
	if !ok {
		return "", ""
	}
	endpoint, tenant, _ = strings.Cut(rest, "/")
	if strings.Contains(tenant, "/") {
		return "", ""
	}
	return endpoint, tenant
}
