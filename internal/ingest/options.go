package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/signature"
)

// Endpoint is one inbound URL: what resolves its webhooks and what authenticates them.
type Endpoint struct {
	resolve.Endpoint
	Verifier signature.Verifier
}

// Defaults of [Options].
const (
	// DefaultMaxBody is far above any vendor's payload.
	DefaultMaxBody = 4 << 20
	// DefaultPublishTimeout leaves room to answer within the shortest patience of a vendor, 15 s.
	DefaultPublishTimeout = 10 * time.Second
)

// maxBody is the largest body whose dead letter is sure to fit a message: a body that does not compress
// grows by a third in base64; the rest of a dead letter is small.
const maxBody = (queue.MaxMessage - 64<<10) / 4 * 3

// Options make a [Handler].
type Options struct {
	Endpoints   []Endpoint
	Events      queue.Publisher // where events go
	DeadLetters queue.Publisher // where authentic but unusable webhooks go
	// Finder finds tenants by route; nil when no endpoint needs it.
	Finder resolve.TenantFinder
	Logger *slog.Logger
	// MaxBody is the body limit in bytes; 0 for DefaultMaxBody.
	MaxBody int64
	// PublishTimeout bounds everything between reading the body and the reply; 0 for DefaultPublishTimeout.
	PublishTimeout time.Duration
	// Now is the clock of receipts; nil for time.Now.
	Now func() time.Time
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(o.Events != nil, "events: missing")
	need(o.DeadLetters != nil, "dead_letters: missing")
	need(o.Logger != nil, "logger: missing")
	need(o.MaxBody >= 0 && o.MaxBody <= maxBody, fmt.Sprintf("max_body: want at most %d", maxBody))
	need(o.PublishTimeout >= 0, "publish_timeout: negative")
	seen := map[string]bool{}
	for i := range o.Endpoints {
		ep := &o.Endpoints[i]
		where := fmt.Sprintf("endpoints[%d]", i)
		if err := ep.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
		// Without a verifier everybody could speak for every tenant: there is no way to configure that.
		need(ep.Verifier != nil, where+": verifier: missing")
		need(!seen[ep.Name], where+": name: used twice")
		seen[ep.Name] = true
	}
	return errors.Join(errs...)
}

// withDefaults fills what is not set.
func (o Options) withDefaults() Options {
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = DefaultPublishTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
