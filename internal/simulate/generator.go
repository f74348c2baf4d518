// Package simulate makes realistic webhook traffic of several vendors and tenants, the same for the same seed.
package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/signature"
)

// Sources are the sources that can be simulated.
func Sources() []string { return slices.Sorted(maps.Keys(bodies)) }

// Endpoint is where webhooks of a source go and what signs them.
type Endpoint struct {
	Name   string
	Source string
	Signer signature.Signer // nil for an unsigned endpoint
}

// Tenant is a tenant that visitors are simulated for.
type Tenant struct {
	ID   visitor.TenantID
	Host string // its website; "" makes one of its id
}

// Tenants makes n tenants: tenant-0001, tenant-0002 and so on.
func Tenants(n int) []Tenant {
	out := make([]Tenant, n)
	for i := range out {
		out[i].ID = visitor.TenantID(fmt.Sprintf("tenant-%04d", i+1))
	}
	return out
}

// Options describe the traffic.
type Options struct {
	Seed      uint64
	Count     int // distinct webhooks
	Tenants   []Tenant
	Endpoints []Endpoint
	// Duplicates is the share of webhooks that are sent once more, 0 to 1, later on.
	Duplicates float64
	// Visitors is how many people a tenant has; 0 for one for every three webhooks.
	Visitors int
	// Start is the time of the first visit; they follow one another by Interval.
	Start    time.Time
	Interval time.Duration
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(o.Count > 0, "count: want at least 1")
	need(len(o.Tenants) > 0, "tenants: want at least one")
	need(len(o.Endpoints) > 0, "sources: want at least one endpoint")
	need(o.Duplicates >= 0 && o.Duplicates <= 1, "duplicates: want 0 to 1")
	need(o.Visitors >= 0, "visitors: negative")
	need(!o.Start.IsZero(), "start: required")
	for _, e := range o.Endpoints {
		if bodies[e.Source] == nil {
			errs = append(errs, fmt.Errorf("source %q cannot be simulated (known: %v)", e.Source, Sources()))
		}
	}
	for _, t := range o.Tenants {
		if err := t.ID.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Webhook is one request to be sent.
type Webhook struct {
	Number    int // of the distinct webhook, from 0; a duplicate has its original's
	Tenant    visitor.TenantID
	Source    string
	Endpoint  Endpoint
	Path      string // of the URL
	ID        string // of the delivery, where the scheme has one
	Body      []byte
	Duplicate bool
}

// Generator makes webhooks one after the other. It is not safe for concurrent use.
type Generator struct {
	opts    Options
	rng     *rand.Rand
	zipf    *rand.Zipf
	made    int
	pending []Webhook // duplicates that are still to come
}

// New returns a generator. The traffic is spread over tenants and visitors by Zipf's law.
func New(o Options) (*Generator, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	o.Tenants = slices.Clone(o.Tenants)
	for i, t := range o.Tenants {
		if t.Host == "" {
			o.Tenants[i].Host = "www." + string(t.ID) + ".example"
		}
	}
	if o.Visitors == 0 {
		o.Visitors = max(1, o.Count/3/len(o.Tenants))
	}
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	g := &Generator{opts: o, rng: rng}
	if n := len(o.Tenants); n > 1 {
		g.zipf = rand.NewZipf(rng, 1.1, 1, uint64(n-1))
	}
	return g, nil
}

// Next returns the next webhook, false at the end.
func (g *Generator) Next() (Webhook, bool, error) {
	left := g.opts.Count - g.made
	if len(g.pending) > 0 && (left == 0 || len(g.pending) > 50) {
		i := g.rng.IntN(len(g.pending))
		w := g.pending[i]
		g.pending = slices.Delete(g.pending, i, i+1)
		return w, true, nil
	}
	if left == 0 {
		return Webhook{}, false, nil
	}
	w, err := g.webhook()
	if err != nil {
		return Webhook{}, false, err
	}
	if g.rng.Float64() < g.opts.Duplicates {
		d := w
		d.Duplicate = true
		g.pending = append(g.pending, d)
	}
	return w, true, nil
}

// ingestPath is package ingest's Prefix, said again: a generator that sends what vendors send needs nothing of the
// program that receives it.
const ingestPath = "/v1/ingest/"

func (g *Generator) webhook() (Webhook, error) {
	n := g.made
	g.made++
	t := g.opts.Tenants[0]
	if g.zipf != nil {
		t = g.opts.Tenants[g.zipf.Uint64()]
	}
	ep := pick(g.rng, g.opts.Endpoints)
	// The square favours some visitors: a few come often, many once.
	number := int(math.Pow(g.rng.Float64(), 2) * float64(g.opts.Visitors))
	id := fmt.Sprintf("%x-%d", g.opts.Seed, n)
	who := newPerson(g.opts.Seed, string(t.ID), number)
	v := newVisit(g.rng, id, string(t.ID), t.Host, who, g.opts.Start.Add(time.Duration(n)*g.opts.Interval))
	body, err := v.body(ep.Source)
	if err != nil {
		return Webhook{}, err
	}
	w := Webhook{Number: n, Tenant: t.ID, Source: ep.Source, Endpoint: ep, ID: "msg_sim_" + id, Body: body}
	w.Path = ingestPath + url.PathEscape(ep.Name)
	if ep.Source == "leadpipe" {
		w.Path += "/" + url.PathEscape(string(t.ID)) // one URL per tenant: its payload names none
	}
	return w, nil
}

// Request makes the signed HTTP request of a webhook; base is the URL of the HTTP functions.
func (w *Webhook) Request(ctx context.Context, base string, now time.Time) (*http.Request, error) {
	sig := signature.Request{
		Header: http.Header{"Content-Type": {"application/json"}}, Query: url.Values{}, Body: w.Body,
		Endpoint: w.Endpoint.Name, Now: now,
	}
	if w.Source == "leadpipe" {
		sig.Tenant = string(w.Tenant)
	}
	if w.Endpoint.Signer != nil {
		if err := w.Endpoint.Signer.Sign(&sig, w.ID); err != nil {
			return nil, fmt.Errorf("sign webhook: %w", err)
		}
	}
	u := base + w.Path
	if len(sig.Query) > 0 {
		u += "?" + sig.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(w.Body))
	if err != nil {
		return nil, fmt.Errorf("make webhook: %w", err)
	}
	req.Header = sig.Header
	return req, nil
}
