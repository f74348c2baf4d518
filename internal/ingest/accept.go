package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source"
)

// request is an authentic webhook.
type request struct {
	*Endpoint
	resolve.Request

	body   []byte
	header http.Header
}

// accept publishes every event of a webhook and parks the webhook when there is a record that it cannot use.
// An error means that something was not acknowledged: the vendor has to try again, which is safe, because
// the same records get the same event ids.
func (h *Handler) accept(ctx context.Context, req *request, rc *receipt) (source.Result, error) {
	items, err := h.resolver.Webhook(ctx, &req.Endpoint.Endpoint, req.Request, req.body)
	var refused *resolve.Error
	switch {
	case errors.As(err, &refused):
		return h.park(ctx, req, rc, refused)
	case err != nil:
		return source.Result{}, err
	}
	rc.items(items)
	if err := h.publishAll(ctx, items); err != nil {
		return source.Result{}, err
	}
	res := source.Result{Outcome: source.AcceptedTest}
	for i := range items {
		switch it := &items[i]; {
		case it.Err != nil && refused == nil:
			refused = it.Err
		case it.Err == nil && !it.Test:
			res.Outcome = source.Accepted
			if res.EventID == "" {
				res.EventID = it.Event.ID
			}
		}
	}
	if refused != nil {
		return h.park(ctx, req, rc, refused)
	}
	return res, nil
}

// publishAtOnce is how many records of one body are published at a time: enough to fill the client's batches.
const publishAtOnce = 64

// publishAll publishes every event and waits for all of them. A record that no message can hold gets an error
// in its item; any other failure fails the whole body.
func (h *Handler) publishAll(ctx context.Context, items []resolve.Item) error {
	if len(items) == 1 { // nearly always: no goroutine for it
		return h.publish(ctx, &items[0])
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishAtOnce)
	for i := range items {
		g.Go(func() error { return h.publish(ctx, &items[i]) })
	}
	return g.Wait()
}

// publish publishes the event of one item, if it has one.
func (h *Handler) publish(ctx context.Context, it *resolve.Item) error {
	if it.Event == nil {
		return nil
	}
	m, err := envelope.Encode(it.Event, it.Raw)
	if err != nil {
		// The codec's texts name fields and quote nothing.
		it.Err = &resolve.Error{Reason: envelope.ReasonUnusable, Outcome: source.BadRequest, Detail: err.Error()}
		return nil //nolint:nilerr // the record is at fault, and its item says so
	}
	_, err = h.opts.Events.Publish(ctx, m)
	switch code.Of(err) {
	case code.OK:
		return nil
	case code.TooLarge, code.Invalid:
		it.Err = &resolve.Error{
			Reason: envelope.ReasonTooLarge, Outcome: source.BadRequest, Detail: "event does not fit a message",
		}
		return nil
	}
	return fmt.Errorf("publish event: %w", err)
}

// safeHeaders are the headers that a parked webhook keeps: none that could hold a secret or an address.
var safeHeaders = [...]string{"Content-Type", "User-Agent"}

// maxHeader bounds a kept header.
const maxHeader = 256

// park publishes the webhook to the dead-letter topic, with all that redrive needs to resolve it once more.
func (h *Handler) park(ctx context.Context, req *request, rc *receipt, why *resolve.Error) (source.Result, error) {
	rc.refused(why)
	d := envelope.DeadLetter{
		Reason:     why.Reason,
		Detail:     why.Detail,
		Source:     rc.source,
		ParkedAt:   h.opts.Now().UTC(),
		ReceivedAt: req.Receipt.ReceivedAt.UTC(),
		Webhook: &envelope.ParkedWebhook{
			Endpoint: req.Name, PathTenant: req.Tenant, VerifiedID: req.VerifiedID,
			FunctionExecutionID: req.Receipt.FunctionExecutionID,
			Headers:             map[string]string{}, Body: envelope.Compress(req.body),
		},
	}
	for _, k := range safeHeaders {
		if v := req.header.Get(k); v != "" && len(v) <= maxHeader && utf8.ValidString(v) {
			d.Webhook.Headers[k] = v
		}
	}
	m, err := envelope.EncodeDeadLetter(&d)
	if err != nil {
		return source.Result{}, err
	}
	if _, err := h.opts.DeadLetters.Publish(ctx, m); err != nil {
		return source.Result{}, fmt.Errorf("park webhook: %w", err)
	}
	return source.Result{Outcome: source.Parked, Why: why.Outcome}, nil
}
