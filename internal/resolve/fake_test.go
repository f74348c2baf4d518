package resolve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/source"
)

// received is when everything in these tests is received.
var received = time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC)

// routes is a finder over a map; the value "down" is an outage.
type routes map[string]visitor.TenantID

var errDown = errors.New("store is down")

func (f routes) ByRoute(_ context.Context, r source.Route) (visitor.TenantID, bool, error) {
	t, ok := f[string(r.Kind)+":"+r.Value]
	if t == "down" {
		return "", false, errDown
	}
	return t, ok, nil
}

// fixed is an adapter whose every body has the same records.
type fixed struct {
	recs        []source.Record
	err         error
	repeatAfter time.Duration
}

func (f fixed) Info() source.Info { return source.Info{Name: "fixed", RepeatAfter: f.repeatAfter} }

func (f fixed) Parse([]byte) ([]source.Record, error) { return f.recs, f.err }

func (f fixed) Reply(source.Result) source.Reply { return source.Reply{Status: 200} }

// legacy is an adapter that reads {version, options, data} as MDB's legacy webhook has it.
type legacy struct{}

func (legacy) Info() source.Info { return source.Info{Name: "legacy", RepeatAfter: time.Hour} }

func (legacy) Parse(body []byte) ([]source.Record, error) {
	var p struct {
		Version string
		Options map[string]any
		Data    any
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&p); err != nil {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "not JSON"}
	}
	if p.Version != "v1" {
		return nil, &source.Error{Outcome: source.UnsupportedVersion, Detail: "version"}
	}
	rec := source.Record{Raw: body}
	rec.Tenant, _ = p.Options["tenant_id"].(string)
	rec.Event.Attribution.PageID, _ = p.Options["page_id"].(string)
	rec.Canonical, _ = json.Marshal([]any{p.Options, p.Data})
	return []source.Record{rec}, nil
}

func (legacy) Reply(source.Result) source.Reply { return source.Reply{Status: 200} }
