package app

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/simulate"
)

// NewWebhook returns the request by which an endpoint's vendor would deliver a body: to the functions at base,
// for the tenant in the URL or none, signed as the endpoint wants it.
func NewWebhook(
	ctx context.Context, base string, e *devlink.Endpoint, tenant string, body []byte,
) (*http.Request, error) {
	s, err := newSigner(e)
	if err != nil {
		return nil, fmt.Errorf("sign webhook: %w", err)
	}
	r := &signature.Request{
		Header: http.Header{"Content-Type": {"application/json"}}, Query: url.Values{},
		Body: body, Endpoint: e.Name, Tenant: tenant, Now: time.Now(),
	}
	if s != nil {
		if err := s.Sign(r, "msg_"+ulid.Make().String()); err != nil {
			return nil, fmt.Errorf("sign webhook: %w", err)
		}
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("sign webhook: base URL: %w", err)
	}
	u = u.JoinPath(ingest.Prefix, e.Name, tenant)
	u.RawQuery = r.Query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("sign webhook: %w", err)
	}
	req.Header = r.Header
	return req, nil
}

// SimulatedEndpoints are the endpoints as the traffic generator takes them.
func SimulatedEndpoints(list []devlink.Endpoint) ([]simulate.Endpoint, error) {
	out := make([]simulate.Endpoint, len(list))
	for i := range list {
		s, err := newSigner(&list[i])
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", list[i].Name, err)
		}
		out[i] = simulate.Endpoint{Name: list[i].Name, Source: list[i].Source, Signer: s}
	}
	return out, nil
}

// newSigner returns what signs for an endpoint, nil for an unsigned one.
func newSigner(e *devlink.Endpoint) (signature.Signer, error) {
	v, err := NewVerifier(&config.Auth{
		Mode: config.AuthMode(e.Mode), Header: e.Header, Secrets: []redact.Secret{redact.Secret(e.Secret)},
	})
	if err != nil {
		return nil, err
	}
	s, _ := v.(signature.Signer)
	return s, nil
}
