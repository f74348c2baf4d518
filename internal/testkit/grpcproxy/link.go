package grpcproxy

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// link is the connection to the server that belongs to one connection of a client, and ends with it: a server that keeps
// streams until their connection is gone would otherwise keep those of clients that were cut off.
type link struct {
	target string

	mu    sync.Mutex
	conn  *grpc.ClientConn // nil before the first call
	ended bool
}

type linkKey struct{}

// server returns the connection, made at the first call.
func (l *link) server() (*grpc.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, status.Error(codes.Unavailable, "connection cut")
	}
	if l.conn != nil {
		return l.conn, nil
	}
	var err error
	l.conn, err = grpc.NewClient("passthrough:///"+l.target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, status.Error(codes.Internal, "target cannot be dialled")
	}
	return l.conn, nil
}

func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.conn != nil {
		_ = l.conn.Close() // whatever it still carried ends with it
	}
}

// links makes and ends links with the connections of the proxy's server.
type links struct{ p *Proxy }

var _ stats.Handler = links{}

func (h links) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	return context.WithValue(ctx, linkKey{}, &link{target: h.p.target})
}

func (links) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		ctx.Value(linkKey{}).(*link).end()
	}
}

func (links) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (links) HandleRPC(context.Context, stats.RPCStats) {}
