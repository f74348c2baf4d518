package gcppubsub

import (
	"context"
	"errors"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/code"
)

// classify gives an error of the Google client its code. Of the service's text it keeps what names
// resources and permissions; a refused request's text may quote the request.
func classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return code.New(code.Canceled, op, cause)
	}
	switch {
	case errors.Is(err, pubsub.ErrOversizedMessage):
		return code.New(code.TooLarge, op, nil)
	case errors.Is(err, pubsub.ErrPublisherStopped):
		return code.New(code.Unavailable, op, pubsub.ErrPublisherStopped)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return code.New(code.Unavailable, op, err) // a bound inside the client; the caller's ctx is fine
	}
	st, ok := status.FromError(err)
	if !ok {
		return code.New(code.Unknown, op, nil)
	}
	c := codeOf(st.Code())
	text := st.Code().String()
	if c == code.NotFound || c == code.Denied || c == code.Unavailable {
		text += ": " + st.Message()
	}
	return code.New(c, op, errors.New(text))
}

func codeOf(c codes.Code) code.Code {
	switch c {
	case codes.OK:
		return code.OK
	case codes.NotFound:
		return code.NotFound
	case codes.PermissionDenied, codes.Unauthenticated:
		return code.Denied
	case codes.InvalidArgument, codes.OutOfRange:
		return code.Invalid
	case codes.AlreadyExists, codes.FailedPrecondition:
		return code.Conflict
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted,
		codes.Canceled: // not by the caller, so by a closing connection
		return code.Unavailable
	case codes.Internal, codes.DataLoss, codes.Unimplemented:
		return code.Internal
	default:
		return code.Unknown
	}
}
