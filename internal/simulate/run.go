package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/usherhq/usher/consumer/visitor"
)

// RunOptions say how traffic is sent.
type RunOptions struct {
	Base        string  // URL of the HTTP functions
	Rate        float64 // requests a second; 0 for as fast as it goes
	Concurrency int     // requests under way at a time; 0 for 8
	Tries       int     // of a request that fails or is answered 5xx; 0 for 3
	Client      *http.Client
	// Progress is called after each request, one call at a time.
	Progress func(sent int)
}

// Report is what was sent and what came back.
type Report struct {
	Sent       int                      `json:"sent"`        // webhooks, duplicates included
	Duplicates int                      `json:"duplicates"`  // of them sent before
	Retries    int                      `json:"retries"`     // further tries of one webhook
	ByStatus   map[int]int              `json:"by_status"`   // last answers
	BySource   map[string]int           `json:"by_source"`   // distinct webhooks
	ByTenant   map[visitor.TenantID]int `json:"by_tenant"`   // distinct webhooks that were accepted
	Seconds    float64                  `json:"seconds"`     // from first to last
	P50Millis  float64                  `json:"p50_ms"`      // latency of accepted requests
	P99Millis  float64                  `json:"p99_ms"`      // likewise
	FirstError string                   `json:"first_error"` // of requests without answer
}

// Run sends all webhooks of a generator. It returns an error when the context ended or a webhook could not
// be made; requests that fail are counted in the report (status 0: no answer).
func Run(ctx context.Context, g *Generator, o RunOptions) (*Report, error) {
	if o.Concurrency == 0 {
		o.Concurrency = 8
	}
	if o.Tries == 0 {
		o.Tries = 3
	}
	if o.Client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = o.Concurrency
		defer t.CloseIdleConnections()
		o.Client = &http.Client{Transport: t, Timeout: 30 * time.Second}
	}
	limit := rate.Inf
	if o.Rate > 0 {
		limit = rate.Limit(o.Rate)
	}
	s := &sender{opts: o, limiter: rate.NewLimiter(limit, 1), report: Report{
		ByStatus: map[int]int{}, BySource: map[string]int{}, ByTenant: map[visitor.TenantID]int{},
	}}
	start := time.Now()
	grp, ctx := errgroup.WithContext(ctx)
	grp.SetLimit(o.Concurrency)
	err := s.feed(ctx, g, grp)
	err = errors.Join(err, grp.Wait())
	s.report.Seconds = time.Since(start).Seconds()
	s.percentiles()
	return &s.report, err
}

type sender struct {
	opts    RunOptions
	limiter *rate.Limiter

	mu       sync.Mutex
	report   Report
	latency  []time.Duration
	accepted map[int]bool
}

func (s *sender) feed(ctx context.Context, g *Generator, grp *errgroup.Group) error {
	for {
		w, ok, err := g.Next()
		if err != nil || !ok {
			return err
		}
		if err := s.limiter.Wait(ctx); err != nil {
			return fmt.Errorf("simulate: %w", context.Cause(ctx))
		}
		grp.Go(func() error { return s.send(ctx, &w) })
	}
}

// send sends one webhook, as often as it takes or is allowed.
func (s *sender) send(ctx context.Context, w *Webhook) error {
	for try := 1; ; try++ {
		start := time.Now()
		status, err := s.post(ctx, w)
		if ctx.Err() != nil {
			return fmt.Errorf("simulate: %w", context.Cause(ctx))
		}
		var sign *signError
		if errors.As(err, &sign) {
			return err
		}
		if try < s.opts.Tries && (status == 0 || status >= http.StatusInternalServerError) {
			s.mu.Lock()
			s.report.Retries++
			s.mu.Unlock()
			continue
		}
		s.count(w, status, time.Since(start), err)
		return nil
	}
}

// signError marks a webhook that could not even be made.
type signError struct{ error }

func (s *sender) post(ctx context.Context, w *Webhook) (status int, err error) {
	req, err := w.Request(ctx, s.opts.Base, time.Now())
	if err != nil {
		return 0, &signError{err}
	}
	resp, err := s.opts.Client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which may hold a token
		}
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body) // keeps the connection; its content is not needed
	return resp.StatusCode, resp.Body.Close()
}

func (s *sender) count(w *Webhook, status int, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.report
	r.Sent++
	r.ByStatus[status]++
	if err != nil && r.FirstError == "" {
		r.FirstError = err.Error()
	}
	if w.Duplicate {
		r.Duplicates++
	}
	if status/100 == 2 {
		s.latency = append(s.latency, took)
		if s.accepted == nil {
			s.accepted = map[int]bool{}
		}
		if !s.accepted[w.Number] {
			s.accepted[w.Number] = true
			r.BySource[w.Source]++
			r.ByTenant[w.Tenant]++
		}
	}
	if s.opts.Progress != nil {
		s.opts.Progress(r.Sent)
	}
}

func (s *sender) percentiles() {
	slices.Sort(s.latency)
	at := func(p float64) float64 {
		if len(s.latency) == 0 {
			return 0
		}
		return float64(s.latency[int(p*float64(len(s.latency)-1))].Microseconds()) / 1000
	}
	s.report.P50Millis, s.report.P99Millis = at(0.5), at(0.99)
}
