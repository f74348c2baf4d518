package gcpfirestore

import (
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that answers builds on
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// answers is gRPC's protobuf codec, except that an [answer] is not taken apart.
type answers struct{ encoding.CodecV2 }

func newAnswers() answers { return answers{encoding.GetCodecV2("proto")} }

// Unmarshal implements [encoding.CodecV2].
func (c answers) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answer)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var b strings.Builder
	b.Grow(data.Len())
	for _, part := range data {
		b.Write(part.ReadOnlyData())
	}
	a.wire = b.String()
	return nil
}

// answer is one message of a stream as it came: the generated types take a map, a Value and a wrapper for each field.
type answer struct{ wire string }

// each calls f with a reader of every message of a stream.
func each(stream grpc.ClientStream, f func(r reader)) error {
	for {
		var a answer
		switch err := stream.RecvMsg(&a); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		r := newReader(a.wire)
		if f(r); *r.broken {
			return errBroken
		}
	}
}

var errBroken = status.Error(codes.Internal, "an answer is not protobuf")
