package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/directory"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/source/vendors"
	"github.com/usherhq/usher/internal/telemetry"
	"github.com/usherhq/usher/internal/web"
)

// Target is one HTTP function.
type Target struct {
	Name    string // as in FUNCTION_TARGET
	Path    string // where it is served when all are served together
	Handler http.Handler
}

// Targets are the HTTP functions of this build, configured by env (in the form of os.Environ) and logging to
// out. Each is built by its first request: an error then is tried again by the next one.
func Targets(env []string, out io.Writer) []Target {
	// The configured logger comes with the handler. An error would be for an unknown format.
	logger, _ := telemetry.New(out, telemetry.Options{Labels: logLabels("ingest")})
	return []Target{{
		Name: "Ingest", Path: ingest.Prefix,
		Handler: ingest.Handle(logger, web.Lazy(func(ctx context.Context) (http.Handler, error) {
			return buildIngest(ctx, env, out)
		})),
	}}
}

// Refuse answers 503 to every request, with a receipt: for a process that is shutting down.
func Refuse(logger *slog.Logger) http.Handler {
	return ingest.Handle(logger, func(http.ResponseWriter, *http.Request) error {
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "shutting_down", Msg: "Shutting down"}
	})
}

// buildIngest opens what the ingest function needs.
func buildIngest(ctx context.Context, env []string, out io.Writer) (http.Handler, error) {
	cfg, err := config.Load(config.Options{Env: env})
	if err != nil {
		return nil, err
	}
	logger, err := NewLogger(out, cfg, "ingest")
	if err != nil {
		return nil, err
	}
	b, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	h, err := NewIngest(cfg, b, logger)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return h, nil
}

// Ingest is the webhook handler with what it keeps open.
type Ingest struct {
	http.Handler
	tenants *directory.Directory
}

// NewIngest returns the webhook handler; close it when it is no longer served.
func NewIngest(cfg *config.Config, b *Backend, logger *slog.Logger) (*Ingest, error) {
	endpoints, err := Endpoints(cfg)
	if err != nil {
		return nil, err
	}
	dir, err := NewDirectory(cfg, b.Store, nil)
	if err != nil {
		return nil, err
	}
	h, err := ingest.New(ingest.Options{
		Endpoints: endpoints, Events: b.Queue.Publisher(cfg.PubSub.Topic),
		DeadLetters: b.Queue.Publisher(cfg.PubSub.DeadLetterTopic), Finder: dir, Logger: logger,
		MaxBody: int64(cfg.HTTP.MaxBody), PublishTimeout: cfg.PubSub.PublishTimeout, Now: time.Now,
	})
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Ingest{h, dir}, nil
}

// Close releases what the handler keeps; the backend stays open.
func (i *Ingest) Close() { i.tenants.Close() }

// Endpoints maps the configured endpoints to their adapters and verifiers, and reports every problem at once.
func Endpoints(cfg *config.Config) ([]ingest.Endpoint, error) {
	out := make([]ingest.Endpoint, 0, len(cfg.Endpoints))
	var errs []error
	for i := range cfg.Endpoints {
		ep, err := endpoint(i, &cfg.Endpoints[i])
		out = append(out, ep)
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// CheckEndpoint reports what only adapters and verifiers know to be wrong with the endpoint at place i of a
// configuration: for [config.Options].
func CheckEndpoint(i int, e *config.Endpoint) error {
	_, err := endpoint(i, e)
	return err
}

func endpoint(i int, e *config.Endpoint) (ingest.Endpoint, error) {
	var errs []error
	sources := vendors.New()
	adapter, err := sources.Lookup(e.Source)
	if err != nil {
		var known []string
		for _, info := range sources.Infos() {
			known = append(known, info.Name)
		}
		errs = append(errs, fmt.Errorf("endpoints[%d].source: %w: want one of %s", i, err, strings.Join(known, ", ")))
	}
	v, err := NewVerifier(&e.Auth)
	if err != nil {
		errs = append(errs, fmt.Errorf("endpoints[%d].auth: %w", i, err))
	}
	ep := ingest.Endpoint{
		Endpoint: resolve.Endpoint{Name: e.Name, Adapter: adapter, RepeatAfter: e.RepeatAfter},
		Verifier: v,
	}
	for _, t := range e.Tenants {
		ep.Tenants = append(ep.Tenants, visitor.TenantID(t))
	}
	return ep, errors.Join(errs...)
}

// defaultHMACHeader is where Leadpipe puts its signature.
const defaultHMACHeader = "X-Webhook-Signature"

// NewVerifier returns the verifier of an endpoint's authentication.
func NewVerifier(a *config.Auth) (signature.Verifier, error) {
	secrets := signature.Secrets(a.Secrets)
	switch a.Mode {
	case config.AuthStandardWebhooks:
		return signature.NewStandard(secrets, a.Tolerance)
	case config.AuthHMACSHA256:
		return signature.NewHMACHex(cmp.Or(a.Header, defaultHMACHeader), secrets)
	case config.AuthSharedSecret:
		return signature.NewSharedSecret(a.Header, secrets)
	case config.AuthURLToken:
		return signature.NewURLToken(secrets)
	case config.AuthUnsigned:
		return signature.Unsigned(), nil
	}
	return nil, errors.New("mode: unknown")
}
