// Package gcpfirestore is the document store on Firestore, by its low-level client.
//
// A Commit is one RPC without retries inside: what an error means is the caller's to decide.
package gcpfirestore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	firestore "cloud.google.com/go/firestore/apiv1"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// Names of the operations in errors.
const (
	opOpen   = "open firestore"
	opCommit = "commit"
	opGet    = "get"
	opQuery  = "query"
)

// maxRequest is the smallest request limit there is, the emulator's.
const maxRequest = 4 << 20

// Client is a [store.Store] on one Firestore database.
type Client struct {
	rpc      *firestore.Client
	database string // projects/p/databases/d
	prefix   string // of document names, with the slash
	timeout  time.Duration
}

var _ store.Store = (*Client)(nil)

// Open connects to a database. It makes no RPC: a missing database shows at the first read. Errors are
// code.Invalid for the options and code.Denied when there are no credentials.
func Open(ctx context.Context, o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, code.New(code.Invalid, opOpen, err)
	}
	o.setDefaults()
	rpc, err := firestore.NewClient(ctx, o.clientOptions()...)
	if err != nil {
		return nil, code.New(code.Denied, opOpen, err)
	}
	rpc.CallOptions.Commit = nil
	rpc.CallOptions.BatchGetDocuments = nil
	rpc.CallOptions.RunQuery = nil
	database := "projects/" + o.Project + "/databases/" + o.Database
	return &Client{rpc: rpc, database: database, prefix: database + "/documents/", timeout: o.Timeout}, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	if err := c.rpc.Close(); err != nil {
		return fmt.Errorf("close firestore: %w", err)
	}
	return nil
}

// deadline bounds one RPC.
func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// Commit implements [store.Store].
func (c *Client) Commit(ctx context.Context, writes []store.Write) error {
	size, err := store.CheckCommit(writes)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return classify(ctx, opCommit, err, false)
	}
	if len(writes) == 0 {
		return nil
	}
	e := newEncoder(c.prefix, size+size/2+len(writes)*(len(c.prefix)+32))
	defer e.release() // gRPC has made its own copy when the call returns
	e.commit(writes)
	req := &firestorepb.CommitRequest{Database: c.database}
	req.ProtoReflect().SetUnknown(e.bytes()) // sent as it is

	rctx, cancel := c.deadline(ctx)
	defer cancel()
	if _, err := c.rpc.Commit(rctx, req); err != nil {
		if status.Code(err) == codes.ResourceExhausted && proto.Size(req) > maxRequest {
			return code.New(code.TooLarge, opCommit, nil)
		}
		return classify(ctx, opCommit, err, conditioned(writes))
	}
	return nil
}

func conditioned(writes []store.Write) bool {
	for i := range writes {
		if !writes[i].IfVersion.IsZero() {
			return true
		}
	}
	return false
}

// Get implements [store.Store].
func (c *Client) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	if err := store.CheckGet(paths); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, classify(ctx, opGet, err, false)
	}
	if len(paths) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(map[store.Path]int, len(paths))
	names := make([]string, 0, len(paths))
	for i, p := range paths {
		if _, ok := first[p]; !ok {
			first[p] = i
			names = append(names, c.prefix+string(p))
		}
	}
	docs := make([]store.Doc, len(paths))
	if err := c.batchGet(ctx, names, first, docs); err != nil {
		return nil, err
	}
	for i, p := range paths {
		if docs[i] = docs[first[p]]; docs[i].Path == "" {
			return nil, code.New(code.Internal, opGet, errors.New("a document is missing in the answer"))
		}
	}
	return docs, nil
}

// batchGet reads documents, which come in any order, into docs at the place that first gives.
func (c *Client) batchGet(ctx context.Context, names []string, first map[store.Path]int, docs []store.Doc) error {
	rctx, cancel := c.deadline(ctx)
	defer cancel()
	stream, err := c.rpc.BatchGetDocuments(rctx, &firestorepb.BatchGetDocumentsRequest{Database: c.database, Documents: names})
	if err != nil {
		return classify(ctx, opGet, err, false)
	}
	err = each(stream, func(r reader) {
		var d store.Doc
		for r.next() {
			switch {
			case r.is(answerFound):
				d = c.decodeDocument(r.inner())
			case r.is(answerMissing):
				d.Path = c.path(r.content)
			}
		}
		if i, ok := first[d.Path]; ok {
			docs[i] = d
		}
	})
	if err != nil {
		return classify(ctx, opGet, err, false)
	}
	return nil
}

func (c *Client) path(name string) store.Path {
	return store.Path(strings.TrimPrefix(name, c.prefix))
}
