package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/query"
	"github.com/usherhq/usher/internal/simulate"
)

// sendFlags are those of `usher send`.
type sendFlags struct {
	url, endpoint, tenant, email, host, file string
	dryRun, wait                             bool
	auth                                     authFlags
}

func (c *cli) sendCommand() *cobra.Command {
	var s sendFlags
	cmd := &cobra.Command{
		Use:   "send SOURCE",
		Short: "Sign and post one webhook of a source",
		Long: `Sign and post one webhook as a source's vendor does it: a sample of an invented visitor, or the body of a file.
It goes to the ` + "`usher dev`" + ` that ` + devAddrEnv + ` names, or to --url with the endpoints and secrets of the
configuration, or with those of --endpoint and --auth. With --wait it waits for up to 30 seconds until the event is
stored, which events of unknown, disabled or offboarded tenants and those that the tenant's chain drops never are.

Sources: ` + strings.Join(simulate.Sources(), ", ") + ".",
		Example: "  usher send midbound\n  usher send leadpipe --tenant globex --email ada@example.com --wait\n" +
			"  usher send mdb_legacy --file body.json --dry-run",
		Args:      want("SOURCE"),
		ValidArgs: simulate.Sources(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.send(cmd.Context(), cmd.InOrStdin(), args[0], &s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.url, "url", "", "base `URL` of the HTTP functions (default: those of the running usher dev)")
	f.StringVar(&s.endpoint, "endpoint", "", "`NAME` of the endpoint (default: the first of the source)")
	f.StringVar(&s.tenant, "tenant", "", "`ID` of the tenant (default: acme; with --file: none in the URL)")
	f.StringVar(&s.email, "email", "", "`ADDRESS` of the sample's visitor")
	f.StringVar(&s.host, "host", "", "website `HOST` that the sample's visitor was seen on")
	f.StringVar(&s.file, "file", "", "send this `FILE` as it is; - for standard input")
	f.BoolVar(&s.dryRun, "dry-run", false, "print a curl command line, which holds the signature, and send nothing")
	f.BoolVar(&s.wait, "wait", false, "wait up to 30 s until the event is stored")
	s.auth.add(f)
	return cmd
}

func (c *cli) send(ctx context.Context, stdin io.Reader, source string, s *sendFlags) error {
	cfg, err := c.config(nil)
	if err != nil {
		return err
	}
	t, err := c.target(ctx, cfg, s.url)
	if err != nil {
		return err
	}
	e, err := s.auth.endpoint(c, source, s.endpoint)
	if err == nil && e == nil {
		e, err = t.endpoint(source, s.endpoint)
	}
	if err != nil {
		return err
	}
	body, inURL, err := s.body(stdin, e)
	if err != nil {
		return err
	}
	req, err := app.NewWebhook(ctx, t.base, e, inURL, body)
	if err != nil {
		return err
	}
	if s.dryRun {
		fmt.Fprint(c.stdout, curl(req, body))
		return nil
	}
	return c.deliver(ctx, cfg, req, s)
}

func (c *cli) deliver(ctx context.Context, cfg *config.Config, req *http.Request, s *sendFlags) error {
	r, err := post(req)
	if err != nil {
		return err
	}
	if err := c.show(r, func(t *table) { t.row(r.Status, string(r.Body)+r.Text) }); err != nil {
		return err
	}
	switch {
	case r.Status/100 != 2:
		return fmt.Errorf("the endpoint answered %d %s", r.Status, http.StatusText(r.Status))
	case !s.wait:
		return nil
	case r.EventID == "":
		return errors.New("--wait: the answer names no event to wait for")
	}
	op, err := app.OpenOperator(ctx, cfg, c.getenv(devAddrEnv))
	if err != nil {
		return err
	}
	return errors.Join(waitStored(ctx, op, map[visitor.EventID]visitor.TenantID{r.EventID: s.tenantID()}), op.Close())
}

func (s *sendFlags) tenantID() visitor.TenantID {
	if s.tenant == "" && s.file == "" {
		return "acme"
	}
	return visitor.TenantID(s.tenant)
}

// body returns the webhook's body and the tenant in its URL, "" for none.
func (s *sendFlags) body(stdin io.Reader, e *devlink.Endpoint) (body []byte, inURL string, err error) {
	switch {
	case s.file != "" && (s.email != "" || s.host != ""):
		return nil, "", usagef("--file is sent as it is: --email and --host are for samples")
	case s.file != "" && s.wait && s.tenant == "":
		return nil, "", usagef("--wait: give --tenant too, to look for the event there")
	case s.file == "-":
		body, err = io.ReadAll(stdin)
	case s.file != "":
		body, err = os.ReadFile(s.file)
	default:
		return s.sample(e)
	}
	if err != nil {
		return nil, "", fmt.Errorf("--file: %w", err)
	}
	return body, s.tenant, nil
}

func (s *sendFlags) sample(e *devlink.Endpoint) (body []byte, inURL string, err error) {
	if !slices.Contains(simulate.Sources(), e.Source) {
		return nil, "", fmt.Errorf("no sample of source %q: send your own with --file", e.Source)
	}
	w, err := samples(simulate.Tenant{ID: s.tenantID(), Host: sampleHost(s.host, s.tenantID())}, e, rand.Uint64(), 1)
	if err != nil {
		return nil, "", err
	}
	body = w[0].Body
	if s.email != "" {
		if body, err = withEmail(body, s.email); err != nil {
			return nil, "", err
		}
	}
	return body, urlTenant(&w[0]), nil
}

// urlTenant is the tenant in a sample's URL, "" where the payload alone names it.
func urlTenant(w *simulate.Webhook) string {
	if strings.HasSuffix(w.Path, "/"+w.Endpoint.Name+"/"+string(w.Tenant)) {
		return string(w.Tenant)
	}
	return ""
}

// sampleHost is the host of a sample: a demo tenant's own website, so that routes agree.
func sampleHost(host string, id visitor.TenantID) string {
	if host != "" {
		return host
	}
	for _, t := range app.DemoTenants() {
		if t.ID == id && len(t.Domains) > 0 {
			return t.Domains[0]
		}
	}
	return ""
}

// samples makes webhooks of invented visitors that came one second after the other, the last one now.
func samples(t simulate.Tenant, e *devlink.Endpoint, seed uint64, count int) ([]simulate.Webhook, error) {
	g, err := simulate.New(simulate.Options{
		Seed: seed, Count: count, Visitors: count, Tenants: []simulate.Tenant{t}, Interval: time.Second,
		Endpoints: []simulate.Endpoint{{Name: e.Name, Source: e.Source}},
		Start:     time.Now().UTC().Truncate(time.Second).Add(-time.Duration(count-1) * time.Second),
	})
	if err != nil {
		return nil, err
	}
	out := make([]simulate.Webhook, 0, count)
	for {
		w, ok, err := g.Next()
		if err != nil || !ok {
			return out, err
		}
		out = append(out, w)
	}
}

// withEmail replaces every e-mail address of a sample.
func withEmail(body []byte, email string) ([]byte, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	b, err := json.Marshal(replaceEmails(v, email))
	if err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	return b, nil
}

func replaceEmails(v any, email string) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = replaceEmails(v[k], email)
		}
	case []any:
		for i := range v {
			v[i] = replaceEmails(v[i], email)
		}
	case string:
		if strings.Contains(v, "@") {
			return email
		}
	}
	return v
}

const (
	storedTimeout = 30 * time.Second
	storedPoll    = 20 * time.Millisecond
)

var errNotStored = fmt.Errorf("not stored within %v: either the message was parked as a dead letter (a processor failed), "+
	"or will be after tenants.unknown_grace (its tenant is unknown), or was held or discarded (the tenant is disabled or offboarded), or the tenant's chain dropped it, or no daemon runs; "+
	"the daemon's log says which", storedTimeout)

// waitStored waits until all events are stored.
func waitStored(ctx context.Context, op *app.Operator, events map[visitor.EventID]visitor.TenantID) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storedTimeout, errNotStored)
	defer cancel()
	tick := time.NewTicker(storedPoll)
	defer tick.Stop()
	for len(events) > 0 {
		for id, t := range events {
			switch _, err := query.Identification(ctx, op.Store, t, id); {
			case err == nil:
				delete(events, id)
			case !errors.Is(err, query.ErrNotFound) && ctx.Err() == nil:
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}
