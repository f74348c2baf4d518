// Package grpcproxy stands between a gRPC client and its server on the loopback and, by seed, lets calls go wrong
// the way a network and a busy service do.
//
// It knows nothing of the messages it forwards. Streams pass through as streams. Every fault is counted when it has
// really happened, so that a run which injected nothing cannot be taken for one that survived something.
package grpcproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/usherhq/usher/internal/fault"
)

// The faults. Their rates in a [fault.Plan] are per call, of a stream per its opening.
const (
	// Cut breaks every connection of the clients, whatever is under way on them.
	Cut fault.Kind = "cut"
	// Delayed forwards a call after a pause of up to Options.Delay.
	Delayed fault.Kind = "delayed"
	// Lost applies a call and tells the caller UNAVAILABLE.
	Lost fault.Kind = "lost_response"
	// Held applies a call and keeps its response until the caller gave up, or for Options.Hold.
	Held fault.Kind = "held_response"
	// Burst refuses this call and the next ones, 5 to 30 of them, with UNAVAILABLE, ABORTED or RESOURCE_EXHAUSTED.
	Burst fault.Kind = "burst"
	// Refused counts the calls that a burst refused. It has no rate.
	Refused fault.Kind = "refused"
	// Outage counts the calls of [Proxy.Down]. It has no rate.
	Outage fault.Kind = "outage"
)

// Options say what a [Proxy] does.
type Options struct {
	Target string // host:port of the server; required
	Seed   uint64
	Plan   fault.Plan // nil forwards everything faithfully
	// Applied are the methods, such as "Commit", whose responses may be lost or held: unary ones that change
	// something. Faults of the other kinds strike every method.
	Applied []string
	Delay   time.Duration // longest pause of Delayed; 0 is 200 ms
	Hold    time.Duration // longest time of Held; 0 is 10 s
}

func (o *Options) setDefaults() {
	if o.Delay <= 0 {
		o.Delay = 200 * time.Millisecond
	}
	if o.Hold <= 0 {
		o.Hold = 10 * time.Second
	}
}

// Proxy is a running proxy. It is safe for concurrent use.
type Proxy struct {
	// Addr is the host:port that clients dial.
	Addr string

	opts    Options
	faults  *fault.Injector
	server  *grpc.Server
	conns   *conns
	applied map[string]bool
	served  chan error

	mu      sync.Mutex
	target  string
	quiet   bool  // nothing strikes
	burst   burst // what is refused now
	counted map[fault.Kind]int
}

// Start serves on a free port of the loopback until Close. The target need not be there yet.
func Start(ctx context.Context, o Options) (*Proxy, error) {
	if o.Target == "" {
		return nil, errors.New("grpc proxy: target is required")
	}
	o.setDefaults()
	p := &Proxy{
		opts: o, faults: fault.New(o.Seed, o.Plan), applied: map[string]bool{}, served: make(chan error, 1),
		burst: newBurst(o.Seed), counted: map[fault.Kind]int{},
	}
	for _, m := range o.Applied {
		p.applied[m] = true
	}
	p.target = o.Target
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("grpc proxy: %w", err)
	}
	p.Addr = l.Addr().String()
	p.conns = &conns{Listener: l, open: map[net.Conn]bool{}}
	p.server = grpc.NewServer(
		grpc.UnknownServiceHandler(p.handle), grpc.ForceServerCodecV2(raw{}), grpc.StatsHandler(links{p}), grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		// Clients of the real services ping as often as these allow.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
	go func() { p.served <- p.server.Serve(p.conns) }()
	return p, nil
}

// maxMessage is above what either service takes.
const maxMessage = 64 << 20

// Retarget sends new connections to another server and breaks those that there are, as when a server is replaced.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.conns.cut()
}

// Cut breaks every connection of the clients now and returns how many there were.
func (p *Proxy) Cut() int {
	p.count(Cut)
	return p.conns.cut()
}

// Down begins an outage: connections are broken, and new ones too as soon as they are made. Up ends it.
func (p *Proxy) Down() {
	p.count(Outage)
	p.conns.refuse(true)
	p.conns.cut()
}

// Up ends an outage.
func (p *Proxy) Up() { p.conns.refuse(false) }

// Calm ends all random faults, so that what was begun can be finished.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = true
}

// Injected returns how often each fault has happened.
func (p *Proxy) Injected() map[fault.Kind]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[fault.Kind]int, len(p.counted))
	for k, n := range p.counted {
		out[k] = n
	}
	return out
}

// Close ends everything at once. It may be called once.
func (p *Proxy) Close() error {
	p.server.Stop()
	if err := <-p.served; err != nil {
		return fmt.Errorf("close grpc proxy: %w", err)
	}
	return nil
}

func (p *Proxy) count(k fault.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted[k]++
}
