package gcpfirestore

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// failing is a server that answers each RPC with one error and counts the calls.
type failing struct {
	firestorepb.UnimplementedFirestoreServer
	err    error // nil: no answer before the caller gives up
	commit chan string
}

func (f *failing) Commit(ctx context.Context, _ *firestorepb.CommitRequest) (*firestorepb.CommitResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.commit <- strings.Join(md.Get("authorization"), ",")
	return nil, f.fail(ctx)
}

func (f *failing) BatchGetDocuments(_ *firestorepb.BatchGetDocumentsRequest, s firestorepb.Firestore_BatchGetDocumentsServer) error {
	return f.fail(s.Context())
}

func (f *failing) RunQuery(_ *firestorepb.RunQueryRequest, s firestorepb.Firestore_RunQueryServer) error {
	return f.fail(s.Context())
}

func (f *failing) fail(ctx context.Context) error {
	if f.err == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

// openFailing serves f and opens it.
func openFailing(t *testing.T, f *failing, timeout time.Duration) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	f.commit = make(chan string, 100)
	srv := grpc.NewServer()
	firestorepb.RegisterFirestoreServer(srv, f)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	c, err := Open(t.Context(), Options{Project: "p", EmulatorHost: l.Addr().String(), Connections: 1, Timeout: timeout})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() }) // also closed by tests
	return c
}

func one(p store.Path) []store.Write {
	return []store.Write{{Path: p, Fields: store.Fields{{Name: "x", Value: int64(1)}}}}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		grpc               codes.Code
		commit, ifVersion  code.Code
		read               code.Code
		textMayNotBePassed bool
	}{
		{codes.AlreadyExists, code.Conflict, code.Conflict, code.Unavailable, false},
		{codes.FailedPrecondition, code.Conflict, code.Conflict, code.NotFound, false},
		{codes.Aborted, code.Conflict, code.Conflict, code.Unavailable, false},
		{codes.NotFound, code.NotFound, code.Conflict, code.NotFound, false},
		{codes.InvalidArgument, code.Invalid, code.Invalid, code.Invalid, true},
		{codes.OutOfRange, code.Invalid, code.Invalid, code.Invalid, true},
		{codes.PermissionDenied, code.Denied, code.Denied, code.Denied, false},
		{codes.Unauthenticated, code.Denied, code.Denied, code.Denied, false},
		{codes.Unavailable, code.Unavailable, code.Unavailable, code.Unavailable, false},
		{codes.DeadlineExceeded, code.Unavailable, code.Unavailable, code.Unavailable, false},
		{codes.ResourceExhausted, code.Unavailable, code.Unavailable, code.Unavailable, false},
		{codes.Canceled, code.Unavailable, code.Unavailable, code.Unavailable, false},
		{codes.Internal, code.Internal, code.Internal, code.Internal, true},
		{codes.Unknown, code.Internal, code.Internal, code.Internal, true},
		{codes.DataLoss, code.Internal, code.Internal, code.Internal, true},
		{codes.Unimplemented, code.Internal, code.Internal, code.Internal, true},
	} {
		t.Run(test.grpc.String(), func(t *testing.T) {
			t.Parallel()
			f := &failing{err: status.Error(test.grpc, "secret@example.com")}
			c := openFailing(t, f, 0)
			versioned := one("t/a")
			versioned[0].IfVersion = store.Version(time.Unix(1, 0))
			_, getErr := c.Get(t.Context(), []store.Path{"t/a"})
			_, queryErr := c.Query(t.Context(), store.Query{Collection: "t", Limit: 1})
			for _, r := range []struct {
				op   string
				err  error
				want code.Code
			}{
				{"commit", c.Commit(t.Context(), one("t/a")), test.commit},
				{"commit of a version", c.Commit(t.Context(), versioned), test.ifVersion},
				{"get", getErr, test.read},
				{"query", queryErr, test.read},
			} {
				if code.Of(r.err) != r.want {
					t.Errorf("%s: %v, want %v", r.op, r.err, r.want)
				}
				if test.textMayNotBePassed && strings.Contains(r.err.Error(), "secret") {
					t.Errorf("%s: the error quotes the service's text", r.op)
				}
			}
			if n := len(f.commit); n != 2 {
				t.Errorf("%d commit RPCs for 2 commits", n)
			}
			if auth := <-f.commit; auth != "Bearer owner" {
				t.Error("the emulator's administrator is not named")
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	c := openFailing(t, &failing{}, 50*time.Millisecond)
	_, getErr := c.Get(t.Context(), []store.Path{"t/a"})
	_, queryErr := c.Query(t.Context(), store.Query{Collection: "t", Limit: 1})
	for op, err := range map[string]error{"commit": c.Commit(t.Context(), one("t/a")), "get": getErr, "query": queryErr} {
		if code.Of(err) != code.Unavailable {
			t.Errorf("%s without an answer: %v, want unavailable", op, err)
		}
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	f := &failing{}
	c := openFailing(t, f, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-f.commit // the server has it
		cancel()
	}()
	err := c.Commit(ctx, one("t/a"))
	if code.Of(err) != code.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v, want canceled", err)
	}
}

func TestClosedAndUnreachable(t *testing.T) {
	t.Parallel()
	c := openFailing(t, &failing{err: status.Error(codes.Internal, "")}, 0)
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := c.Commit(t.Context(), one("t/a")); code.Of(err) != code.Unavailable {
		t.Errorf("commit after close: %v, want unavailable", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	if err := l.Close(); err != nil { // nobody listens there now
		t.Fatalf("close: %v", err)
	}
	away, err := Open(t.Context(), Options{Project: "p", EmulatorHost: l.Addr().String()})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = away.Close() })
	if err := away.Commit(t.Context(), one("t/a")); code.Of(err) != code.Unavailable {
		t.Errorf("commit to nobody: %v, want unavailable", err)
	}
}

func TestRequestTooLarge(t *testing.T) {
	t.Parallel()
	c := openFailing(t, &failing{err: status.Error(codes.ResourceExhausted, "")}, 0)
	// A short value takes four times its size on the wire: under the local limit, over the service's.
	list := make([]any, 400_000)
	for i := range list {
		list[i] = true
	}
	var writes []store.Write
	for i := range 5 {
		writes = append(writes, store.Write{Path: store.Path("t/" + string(rune('a'+i))), Fields: store.Fields{{Name: "l", Value: list}}})
	}
	if err := c.Commit(t.Context(), writes[:2]); code.Of(err) != code.Unavailable {
		t.Errorf("commit of 3 MB: %v, want unavailable", err)
	}
	if err := c.Commit(t.Context(), writes); code.Of(err) != code.TooLarge {
		t.Errorf("commit of 8 MB: %v, want too large", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Options{Connections: -1, Timeout: -1})
	if code.Of(err) != code.Invalid {
		t.Fatalf("open: %v, want invalid", err)
	}
	for _, want := range []string{"project: missing", "connections: negative", "timeout: negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("open: %v, want also %q", err, want)
		}
	}
}
