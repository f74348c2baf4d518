package grpcproxy

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/testkit"
)

// backend is a server that counts what reaches it.
type backend struct {
	addr   string
	health *health.Server
	calls  atomic.Int64
	header atomic.Value // of the last call: x-test
}

func serve(t *testing.T) *backend {
	t.Helper()
	b := &backend{health: health.NewServer()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	s := grpc.NewServer(grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			b.calls.Add(1)
			md, _ := metadata.FromIncomingContext(ctx)
			b.header.Store(md.Get("x-test"))
			return next(ctx, req)
		}))
	healthpb.RegisterHealthServer(s, b.health)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return b
}

// between starts a proxy before the backend and returns a client of it.
func between(t *testing.T, b *backend, o Options) (*Proxy, healthpb.HealthClient) {
	t.Helper()
	o.Target, o.Applied = b.addr, []string{"Check"}
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+p.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close proxy: %v", err)
		}
	})
	return p, healthpb.NewHealthClient(conn)
}

func check(ctx context.Context, c healthpb.HealthClient) codes.Code {
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{})
	return status.Code(err)
}

func TestForwardsFaithfully(t *testing.T) {
	t.Parallel()
	b := serve(t)
	p, c := between(t, b, Options{})
	b.health.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)

	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-test", "kept")
	res, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "up"})
	if err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("Check = %v, %v", res, err)
	}
	if got, _ := b.header.Load().([]string); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("metadata %v, want it kept", got)
	}
	if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("the server's error came as %v", err)
	}
	// A stream delivers what the server sends, when it sends it.
	w, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "up"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING,
	} {
		b.health.SetServingStatus("up", want)
		if res, err := w.Recv(); err != nil || res.GetStatus() != want {
			t.Fatalf("Recv = %v, %v; want %v", res, err, want)
		}
	}
	if n := p.Injected(); len(n) != 0 {
		t.Errorf("injected %v into a plan without faults", n)
	}
}

// TestFaults: each fault does to caller and server what it says, and is counted once for each time it did.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options Options
		service string // of the call
		patient time.Duration
		want    []codes.Code
		applied int64
		counted map[fault.Kind]int
	}{
		{
			name: "delayed", options: Options{Plan: fault.Plan{Delayed: 1}, Delay: time.Millisecond},
			want: []codes.Code{codes.OK}, applied: 1, counted: map[fault.Kind]int{Delayed: 1},
		},
		{
			name: "lost", options: Options{Plan: fault.Plan{Lost: 1}},
			want: []codes.Code{codes.Unavailable}, applied: 1, counted: map[fault.Kind]int{Lost: 1},
		},
		{
			name: "held until the caller gives up", options: Options{Plan: fault.Plan{Held: 1}, Hold: time.Hour}, patient: 300 * time.Millisecond,
			want: []codes.Code{codes.DeadlineExceeded}, applied: 1, counted: map[fault.Kind]int{Held: 1},
		},
		{
			name: "held and then given", options: Options{Plan: fault.Plan{Held: 1}, Hold: time.Millisecond},
			want: []codes.Code{codes.OK}, applied: 1, counted: map[fault.Kind]int{Held: 1},
		},
		{
			name: "what was not applied cannot be lost", options: Options{Plan: fault.Plan{Lost: 1, Held: 1}}, service: "none",
			want: []codes.Code{codes.NotFound}, applied: 1, counted: map[fault.Kind]int{},
		},
		{
			name: "refused", options: Options{Plan: fault.Plan{Burst: 1}},
			want: refusals, counted: map[fault.Kind]int{Burst: 1, Refused: 1},
		},
		{
			name: "cut", options: Options{Plan: fault.Plan{Cut: 1}},
			want: []codes.Code{codes.Unavailable}, counted: map[fault.Kind]int{Cut: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := serve(t)
			p, c := between(t, b, tt.options)
			ctx := t.Context()
			if tt.patient > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.patient)
				defer cancel()
			}
			_, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: tt.service})
			if got := status.Code(err); !slices.Contains(tt.want, got) {
				t.Errorf("the caller saw %v, want one of %v", got, tt.want)
			}
			// A caller that gave up does not wait for the server.
			testkit.Eventually(t, 10*time.Second, func(context.Context) bool {
				return b.calls.Load() == tt.applied && cmp.Equal(p.Injected(), tt.counted)
			}, "the call is applied and counted as planned")
		})
	}
}

func TestBurstsGoThroughAllCodes(t *testing.T) {
	t.Parallel()
	b := serve(t)
	p, c := between(t, b, Options{Plan: fault.Plan{Burst: 1}})
	seen := map[codes.Code]int{}
	const calls = 300
	for range calls {
		seen[check(t.Context(), c)]++
	}
	for _, code := range refusals {
		if seen[code] < shortestBurst {
			t.Errorf("%v came %d times in %d calls, want a burst of it", code, seen[code], calls)
		}
	}
	if len(seen) != len(refusals) || p.Injected()[Refused] != calls || p.Injected()[Burst] < calls/longestBurst {
		t.Errorf("codes %v, injected %v", seen, p.Injected())
	}
}

func TestCutBreaksStreams(t *testing.T) {
	t.Parallel()
	b := serve(t)
	p, c := between(t, b, Options{})
	w, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err != nil {
		t.Fatal(err)
	}
	if n := p.Cut(); n != 1 {
		t.Errorf("%d connections were cut, want 1", n)
	}
	if _, err := w.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	if p.Injected()[Cut] != 1 {
		t.Errorf("injected %v", p.Injected())
	}
	waitFor(t, c, codes.OK)
}

func TestOutage(t *testing.T) {
	t.Parallel()
	b := serve(t)
	p, c := between(t, b, Options{})
	waitFor(t, c, codes.OK)
	p.Down()
	before := b.calls.Load()
	for range 3 {
		if got := check(t.Context(), c); got != codes.Unavailable {
			t.Errorf("during the outage a call gave %v", got)
		}
	}
	if b.calls.Load() != before || p.Injected()[Outage] != 1 {
		t.Errorf("%d calls came through, injected %v", b.calls.Load()-before, p.Injected())
	}
	p.Up()
	waitFor(t, c, codes.OK)
}

func waitFor(t *testing.T, c healthpb.HealthClient, want codes.Code) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, func(ctx context.Context) bool { return check(ctx, c) == want }, "a call gives "+want.String())
}

func TestCalmAndRetarget(t *testing.T) {
	t.Parallel()
	old, b := serve(t), serve(t)
	p, c := between(t, old, Options{Plan: fault.Plan{Burst: 1, Cut: 0.5, Lost: 1}})
	if got := check(t.Context(), c); got == codes.OK {
		t.Error("nothing was injected before it was to be calm")
	}
	p.Calm()
	waitFor(t, c, codes.OK)
	p.Retarget(b.addr)
	waitFor(t, c, codes.OK)
	if b.calls.Load() == 0 {
		t.Error("after retargeting the new server had no call")
	}
}

// TestSeed: the same seed draws the same faults, another one others.
func TestSeed(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64) []verdict {
		plan := fault.Plan{Cut: 0.1, Delayed: 0.2, Lost: 0.2, Held: 0.1, Burst: 0.05}
		p := &Proxy{
			opts: Options{}, faults: fault.New(seed, plan), applied: map[string]bool{"Commit": true},
			burst: newBurst(seed), counted: map[fault.Kind]int{},
		}
		p.opts.setDefaults()
		var out []verdict
		for range 500 {
			out = append(out, p.decide("Commit"))
		}
		return out
	}
	if !slices.Equal(draw(1), draw(1)) {
		t.Error("the same seed gave other faults")
	}
	if slices.Equal(draw(1), draw(2)) {
		t.Error("another seed gave the same faults")
	}
}

func TestResponsesAreLostOfAppliedMethodsOnly(t *testing.T) {
	t.Parallel()
	p := &Proxy{
		faults: fault.New(1, fault.Plan{Lost: 1, Held: 1}), applied: map[string]bool{"Commit": true}, counted: map[fault.Kind]int{},
	}
	if v := p.decide("BatchGetDocuments"); v != (verdict{}) {
		t.Errorf("a read got %+v", v)
	}
	if v := p.decide("Commit"); !v.lose {
		t.Errorf("a commit got %+v", v)
	}
}

func TestStartNeedsATarget(t *testing.T) {
	t.Parallel()
	if _, err := Start(t.Context(), Options{}); err == nil {
		t.Error("no error without a target")
	}
}
