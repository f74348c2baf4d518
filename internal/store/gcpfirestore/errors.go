package gcpfirestore

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/code"
)

// classify turns an RPC's error into a code. Only what Firestore says about connections, rights and missing
// databases is kept as text: the rest may quote documents.
func classify(ctx context.Context, op string, err error, conditioned bool) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return code.New(code.Canceled, op, context.Canceled)
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	c := codeOf(s.Code(), op == opCommit, conditioned)
	switch c {
	case code.Denied, code.NotFound, code.Unavailable:
		return code.New(c, op, errors.New(s.Code().String()+": "+s.Message()))
	}
	return code.New(c, op, errors.New(s.Code().String()))
}

// codeOf maps a status code. conditioned says that a write of the commit wanted a document's version.
func codeOf(c codes.Code, commit, conditioned bool) code.Code {
	switch c {
	case codes.AlreadyExists, codes.FailedPrecondition, codes.Aborted:
		if commit {
			return code.Conflict
		}
		if c == codes.FailedPrecondition { // a query without its index
			return code.NotFound
		}
		return code.Unavailable
	case codes.NotFound:
		// The same for the document and for the database; reading again tells them apart.
		if commit && conditioned {
			return code.Conflict
		}
		return code.NotFound
	case codes.InvalidArgument, codes.OutOfRange:
		return code.Invalid
	case codes.PermissionDenied, codes.Unauthenticated:
		return code.Denied
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled:
		// Canceled without the caller's doing: the connection was closed.
		return code.Unavailable
	}
	return code.Internal
}
