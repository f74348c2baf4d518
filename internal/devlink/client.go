package devlink

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

// Client is the store of a running `usher dev`. It keeps the contract of [store.Store].
type Client struct {
	base string
	http *http.Client
}

// Dial connects to the address that `usher dev` prints, host:port.
func Dial(addr string) *Client {
	return &Client{base: "http://" + addr, http: &http.Client{}}
}

// Info asks the running process for its URLs and endpoints.
func (c *Client) Info(ctx context.Context) (Info, error) {
	return call[nothing, Info](ctx, c, pathInfo, true)
}

// Commit applies all writes or none.
func (c *Client) Commit(ctx context.Context, writes []store.Write) error {
	if _, err := store.CheckCommit(writes); err != nil {
		return err
	}
	sent := make([]store.Write, len(writes))
	for i, w := range writes {
		w.Fields = pack(w.Fields)
		sent[i] = w
	}
	_, err := call[[]store.Write, nothing](ctx, c, pathCommit, sent)
	return err
}

// Get reads documents.
func (c *Client) Get(ctx context.Context, paths []store.Path) ([]store.Doc, error) {
	if err := store.CheckGet(paths); err != nil {
		return nil, err
	}
	docs, err := call[[]store.Path, []store.Doc](ctx, c, pathGet, paths)
	return convert(docs, unpack), err
}

// Query lists documents of one collection.
func (c *Client) Query(ctx context.Context, q store.Query) ([]store.Doc, error) {
	if err := store.CheckQuery(&q); err != nil {
		return nil, err
	}
	docs, err := call[store.Query, []store.Doc](ctx, c, pathQuery, q)
	return convert(docs, unpack), err
}

// Close releases connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

var errNoDev = errors.New("no usher dev answers there: start it, and set USHER_DEV_ADDR to what it prints")

func call[In, Out any](ctx context.Context, c *Client, path string, in In) (Out, error) {
	var out reply[Out]
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(wrap(&in)); err != nil {
		return out.Result, code.New(code.Invalid, "devlink", errors.New("value of an unsupported type"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, &buf) //nolint:gosec // the operator names the address
	if err != nil {
		return out.Result, fmt.Errorf("devlink: %w", err)
	}
	resp, err := c.http.Do(req) //nolint:gosec // as above
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return out.Result, code.New(code.Canceled, "devlink", ctx.Err())
		}
		return out.Result, code.New(code.Unavailable, "devlink "+c.base, errNoDev)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out.Result, code.New(code.Invalid, "devlink: refused by the server", nil)
	}
	if err := gob.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out.Result, code.New(code.Unavailable, "devlink: answer was cut", nil)
	}
	if out.Code != code.OK {
		return out.Result, code.New(out.Code, out.Text, nil)
	}
	return out.Result, nil
}
