// Package telemetry makes the loggers: structured lines in Cloud Logging's field names, or text for people.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// Format is how lines are written.
type Format string

// The formats.
const (
	JSON Format = "json" // one JSON object a line, as Cloud Logging reads it
	Text Format = "text" // key=value, for people
)

// Cloud Logging's special fields.
const (
	keySeverity = "severity"
	keyMessage  = "message"
	keySource   = "logging.googleapis.com/sourceLocation"
	keyTrace    = "logging.googleapis.com/trace"
	keySpan     = "logging.googleapis.com/spanId"
	keySampled  = "logging.googleapis.com/trace_sampled"
	keyLabels   = "logging.googleapis.com/labels"
)

// Options say how a logger writes.
type Options struct {
	Level  slog.Leveler // nil for info; a *slog.LevelVar can be changed while running
	Format Format       // "" for JSON
	// Project makes trace names complete, so that Cloud Logging links a line to its trace.
	Project string
	// Labels are put on every line, such as the service's name and version.
	Labels map[string]string
	// Source adds the place in the code.
	Source bool
}

// Validate reports what is wrong.
func (o Options) Validate() error {
	switch o.Format {
	case "", JSON, Text:
		return nil
	}
	return errors.New("format: want json or text")
}

// New returns a logger that writes to w. Secrets of package redact are masked by their own type.
func New(w io.Writer, o Options) (*slog.Logger, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("log options: %w", err)
	}
	opts := &slog.HandlerOptions{Level: o.Level, AddSource: o.Source}
	if o.Format == Text {
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	opts.ReplaceAttr = cloudField
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if len(o.Labels) > 0 {
		h = h.WithAttrs([]slog.Attr{labels(o.Labels)})
	}
	return slog.New(&traced{Handler: h, prefix: tracePrefix(o.Project)}), nil
}

// labels makes one group of the labels, in a stable order.
func labels(m map[string]string) slog.Attr {
	attrs := make([]slog.Attr, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		attrs = append(attrs, slog.String(k, m[k]))
	}
	return slog.Attr{Key: keyLabels, Value: slog.GroupValue(attrs...)} //nolint:sloglint // Cloud Logging's name
}

// cloudField renames slog's own fields to Cloud Logging's.
func cloudField(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = keyMessage
	case slog.LevelKey:
		if l, ok := a.Value.Any().(slog.Level); ok {
			return slog.String(keySeverity, severity(l))
		}
	case slog.SourceKey:
		if s, ok := a.Value.Any().(*slog.Source); ok {
			a.Key, a.Value = keySource, slog.GroupValue(
				slog.String("file", s.File), slog.Int("line", s.Line), slog.String("function", s.Function))
		}
	}
	return a
}

// severity is Cloud Logging's name of a level; levels in between count as the one below.
func severity(l slog.Level) string {
	switch {
	case l > slog.LevelError:
		return "CRITICAL"
	case l == slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

func tracePrefix(project string) string {
	if project == "" {
		return ""
	}
	return "projects/" + project + "/traces/"
}

// traced adds the trace of the context to each line. Loggers here have no groups, so its fields stay on top.
type traced struct {
	slog.Handler
	prefix string
}

// Handle implements [slog.Handler].
func (t *traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(
			slog.String(keyTrace, t.prefix+sc.TraceID().String()), //nolint:sloglint // Cloud Logging's name
			slog.String(keySpan, sc.SpanID().String()),            //nolint:sloglint // Cloud Logging's name
			slog.Bool(keySampled, sc.IsSampled()))                 //nolint:sloglint // Cloud Logging's name
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (t *traced) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &traced{Handler: t.Handler.WithAttrs(attrs), prefix: t.prefix}
}

// WithGroup implements [slog.Handler].
func (t *traced) WithGroup(name string) slog.Handler {
	return &traced{Handler: t.Handler.WithGroup(name), prefix: t.prefix}
}
