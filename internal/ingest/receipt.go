package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/web"
)

// receipt is the line logged for one request. It holds configured names, ids that usher derived and checked
// values, and never a piece of a body or query.
type receipt struct {
	executionID string
	endpoint    string
	source      string
	host        string
	tenant      visitor.TenantID
	event       visitor.EventID
	outcome     source.Outcome
	reason      envelope.Reason // why it was parked
	detail      string          // static text
	status      int
	latency     time.Duration
	bytes       int
	records     int
	err         error
}

// reply is what the source answers for a result.
func (rc *receipt) reply(ep *Endpoint, res source.Result) source.Reply {
	rc.outcome = res.Outcome
	return ep.Adapter.Reply(res)
}

// items notes what the body was made of; the first record stands for it.
func (rc *receipt) items(items []resolve.Item) {
	first := &items[0]
	rc.records, rc.host = len(items), safeHost(first.Host)
	if first.Event != nil {
		rc.tenant, rc.event = first.Event.TenantID, first.Event.ID
	}
}

// refused notes why the webhook was parked.
func (rc *receipt) refused(why *resolve.Error) {
	rc.reason, rc.detail = why.Reason, why.Detail
	if rc.tenant == "" {
		rc.tenant = why.TenantID
	}
}

// log writes the line. Empty fields are written too: a query over receipts then never misses a line.
func (rc *receipt) log(ctx context.Context, logger *slog.Logger) {
	level := slog.LevelInfo
	attrs := make([]slog.Attr, 0, 15)
	attrs = append(attrs,
		slog.String("endpoint", rc.endpoint),
		slog.String("source", rc.source),
		slog.String("host", rc.host),
		slog.String("tenant_id", string(rc.tenant)),
		slog.String("event_id", string(rc.event)),
		slog.String("outcome", string(rc.outcome)),
		slog.Int("status", rc.status),
		slog.Int64("latency_ms", rc.latency.Milliseconds()),
		slog.Int("bytes", rc.bytes),
		slog.Int("records", rc.records),
		slog.String("function_execution_id", rc.executionID))
	switch rc.outcome {
	case source.Parked:
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("reason", string(rc.reason)), slog.String("detail", rc.detail))
	case source.Failed:
		level = slog.LevelError
		if rc.err != nil {
			attrs = append(attrs, slog.String("error", cause(rc.err)))
		}
	}
	logger.LogAttrs(ctx, level, "receipt", attrs...)
}

// cause is what may be logged of an error: the text of one that was made for it, else its code and type.
func cause(err error) string {
	var refused *web.Error
	if errors.As(err, &refused) {
		return refused.Error()
	}
	var e *code.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return fmt.Sprintf("%s (%T)", code.Of(err), root(err))
}

// root is the innermost error.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// maxHost is the longest domain name.
const maxHost = 253

// safeHost is a website host fit for the log, "" for what does not look like one: a vendor may send anything. An IP
// address may be a person's; unlike a host name it has no letter behind its last dot.
func safeHost(host string) string {
	if strings.IndexFunc(host[strings.LastIndexByte(host, '.')+1:], unicode.IsLetter) < 0 {
		return ""
	}
	if len(host) > maxHost || !utf8.ValidString(host) || !strings.Contains(host, ".") {
		return ""
	}
	for _, c := range host {
		if c != '-' && c != '.' && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) {
			return ""
		}
	}
	return host
}
