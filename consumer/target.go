package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/devlink"
)

// target is where webhooks are sent, and how each endpoint is signed for.
type target struct {
	base      string
	endpoints []devlink.Endpoint
}

var errNoTarget = errors.New("nowhere to send to: start `usher dev` and set " + devAddrEnv +
	" to what it prints, or give --url")

// target is the running `usher dev`, or a given URL with the endpoints of the configuration.
func (c *cli) target(ctx context.Context, cfg *config.Config, base string) (*target, error) {
	if base != "" {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, usagef("--url: want http://host:port or https://host")
		}
		return &target{base, app.EndpointInfos(cfg)}, nil
	}
	addr := c.getenv(devAddrEnv)
	if addr == "" {
		return nil, errNoTarget
	}
	link := devlink.Dial(addr)
	info, err := link.Info(ctx)
	if err = errors.Join(err, link.Close()); err != nil {
		return nil, err
	}
	return &target{info.IngestURL, info.Endpoints}, nil
}

// endpoint finds the endpoint of a source, by its name where one is given.
func (t *target) endpoint(source, name string) (*devlink.Endpoint, error) {
	known := map[string]bool{}
	for i := range t.endpoints {
		e := &t.endpoints[i]
		if e.Source == source && (name == "" || e.Name == name) {
			return e, nil
		}
		known[e.Source+" ("+e.Name+")"] = true
	}
	if len(known) == 0 {
		return nil, errors.New("no endpoints are configured: give --config, or --endpoint with --auth")
	}
	return nil, fmt.Errorf("no such endpoint: want one of %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}

// authFlags describe an endpoint that is not in the configuration.
type authFlags struct{ mode, header, secretEnv, secretFile string }

func (a *authFlags) add(f *pflag.FlagSet) {
	f.StringVar(&a.mode, "auth", "", "how the endpoint authenticates, where the configuration does not say: "+
		"standard_webhooks, hmac_sha256, shared_secret, url_token or unsigned")
	f.StringVar(&a.header, "auth-header", "", "header of the signature or secret, for --auth")
	f.StringVar(&a.secretEnv, "secret-env", "", "environment `VARIABLE` with the secret, for --auth")
	f.StringVar(&a.secretFile, "secret-file", "", "`FILE` with the secret, for --auth")
}

// endpoint makes the endpoint that the flags describe, nil when they describe none.
func (a *authFlags) endpoint(c *cli, source, name string) (*devlink.Endpoint, error) {
	if a.mode == "" {
		if a.header+a.secretEnv+a.secretFile != "" {
			return nil, usagef("--auth-header, --secret-env and --secret-file go with --auth")
		}
		return nil, nil
	}
	if name == "" {
		return nil, usagef("--auth: give --endpoint, its name in the URL, too")
	}
	e := &devlink.Endpoint{Name: name, Source: source, Mode: a.mode, Header: a.header}
	switch {
	case a.secretEnv != "" && a.secretFile != "":
		return nil, usagef("give --secret-env or --secret-file, not both")
	case a.secretEnv != "":
		if e.Secret = c.getenv(a.secretEnv); e.Secret == "" {
			return nil, fmt.Errorf("--secret-env: %s is not set", a.secretEnv)
		}
	case a.secretFile != "":
		b, err := os.ReadFile(a.secretFile)
		if err != nil {
			return nil, fmt.Errorf("--secret-file: %w", err)
		}
		e.Secret = strings.TrimSpace(string(b))
	case config.AuthMode(a.mode) != config.AuthUnsigned:
		return nil, usagef("--auth %s: give --secret-env or --secret-file too", a.mode)
	}
	return e, nil
}

// reply is what an endpoint answered.
type reply struct {
	Status  int             `json:"status"`
	Body    json.RawMessage `json:"body,omitempty"`
	Text    string          `json:"text,omitempty"` // of a body that is not JSON
	EventID visitor.EventID `json:"-"`
}

const (
	postTimeout = 30 * time.Second
	maxReply    = 64 << 10
)

var errPostTimeout = errors.New("no answer in time")

// post sends one webhook.
func post(req *http.Request) (*reply, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), postTimeout, errPostTimeout)
	defer cancel()
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer t.CloseIdleConnections()
	resp, err := (&http.Client{Transport: t}).Do(req.WithContext(ctx))
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which may hold a token
		}
		return nil, fmt.Errorf("send to %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	r := &reply{Status: resp.StatusCode}
	if b = bytes.TrimSpace(b); !json.Valid(b) {
		r.Text = string(b)
		return r, nil
	}
	r.Body = b
	var ids struct {
		EventID visitor.EventID `json:"event_id"`
	}
	_ = json.Unmarshal(b, &ids) // another shape has no id
	r.EventID = ids.EventID
	return r, nil
}

// curl is the request as a command line.
func curl(req *http.Request, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "curl -X %s %s", req.Method, quote(req.URL.String()))
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		fmt.Fprintf(&b, " \\\n  -H %s", quote(name+": "+req.Header.Get(name)))
	}
	fmt.Fprintf(&b, " \\\n  -d %s\n", quote(string(body)))
	return b.String()
}

// quote quotes for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
