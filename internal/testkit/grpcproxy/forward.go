package grpcproxy

import (
	"context"
	"errors"
	"io"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// frame is a message as it is on the wire.
type frame struct{ data []byte }

// raw is the codec of frames.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(*frame).data)}, nil
}

func (raw) Unmarshal(b mem.BufferSlice, v any) error {
	v.(*frame).data = b.Materialize()
	return nil
}

// Name is that of the codec it stands in for: it is part of the content type.
func (raw) Name() string { return "proto" }

// handle serves every call of every method.
func (p *Proxy) handle(_ any, down grpc.ServerStream) error {
	full, ok := grpc.MethodFromServerStream(down)
	if !ok {
		return status.Error(codes.Internal, "no method")
	}
	v := p.decide(path.Base(full))
	if v.cut {
		p.conns.cut()
		return status.Error(codes.Unavailable, "connection cut")
	}
	if v.refuse != codes.OK {
		return status.Error(v.refuse, "refused by the proxy")
	}
	if v.delay > 0 && !sleep(down.Context(), v.delay) {
		return status.FromContextError(down.Context().Err()).Err()
	}
	if v.lose || v.hold {
		return p.withhold(down, full, v)
	}
	return p.forward(down.Context(), down, full, func(f *frame) error { return down.SendMsg(f) })
}

// applyTime bounds a call whose caller no longer does.
const applyTime = time.Minute

// withhold applies a call and does not give its response, at least not in time. A call that fails anyway fails
// as it would have.
func (p *Proxy) withhold(down grpc.ServerStream, full string, v verdict) error {
	var response *frame
	// The call is to be applied even if its caller is gone by then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(down.Context()), applyTime)
	defer cancel()
	if err := p.forward(ctx, down, full, func(f *frame) error { response = f; return nil }); err != nil {
		return err
	}
	if v.lose {
		p.count(Lost)
		return status.Error(codes.Unavailable, "response lost")
	}
	p.count(Held)
	if !sleep(down.Context(), p.opts.Hold) {
		return status.FromContextError(down.Context().Err()).Err()
	}
	if response == nil {
		return nil
	}
	return down.SendMsg(response)
}

// forward copies messages both ways until the server has answered; send takes the server's.
func (p *Proxy) forward(ctx context.Context, down grpc.ServerStream, full string, send func(*frame) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if md, ok := metadata.FromIncomingContext(down.Context()); ok {
		ctx = metadata.NewOutgoingContext(ctx, md.Copy())
	}
	l, ok := down.Context().Value(linkKey{}).(*link)
	if !ok {
		return status.Error(codes.Internal, "no connection")
	}
	target, err := l.server()
	if err != nil {
		return err
	}
	up, err := target.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, full)
	if err != nil {
		return err
	}
	go func() { // ends with the caller's stream, at the latest when the handler returns
		for {
			f := &frame{}
			if err := down.RecvMsg(f); err != nil {
				if !errors.Is(err, io.EOF) {
					cancel() // the caller is gone before it had said everything
					return
				}
				_ = up.CloseSend() // the answer says what went wrong
				return
			}
			if up.SendMsg(f) != nil {
				return
			}
		}
	}()
	for first := true; ; first = false {
		f := &frame{}
		err := up.RecvMsg(f)
		if first {
			if md, herr := up.Header(); herr == nil {
				_ = down.SetHeader(md) // headers are told with the first message or not at all
			}
		}
		if err != nil {
			down.SetTrailer(up.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := send(f); err != nil {
			return err
		}
	}
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
