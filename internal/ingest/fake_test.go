package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/ingest"
	"github.com/usherhq/usher/internal/queue"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/source"
	"github.com/usherhq/usher/internal/telemetry"
)

// TestMain makes the process-wide compressor before any test: made within a synctest bubble it could not be used
// outside of it.
func TestMain(m *testing.M) {
	envelope.Compress([]byte("x"))
	m.Run()
}

// Personal data that every request of these tests carries and that no line of the log may show.
var personal = []string{"ada@example.com", "Ada Example", "192.0.2.71", "+15550100", "token-of-the-url", "secret-of-the-header"}

// record is one record of the fake vendor's body, which is an array of them.
type record struct {
	ID     string `json:"id,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	Domain string `json:"domain,omitempty"`
	Email  string `json:"email,omitempty"`
	Test   bool   `json:"test,omitempty"`
	Pages  int    `json:"pages,omitempty"`
	Extra  string `json:"extra,omitempty"`
	Panic  string `json:"panic,omitempty"`
}

// vendor is a fake source: strict as MDB's cookbook or lenient as Leadpipe.
type vendor struct {
	name    string
	lenient bool
}

func (v vendor) Info() source.Info { return source.Info{Name: v.name, RepeatAfter: time.Hour} }

func (v vendor) Parse(body []byte) ([]source.Record, error) {
	if bytes.HasPrefix(body, []byte("v9")) {
		return nil, &source.Error{Outcome: source.UnsupportedVersion, Detail: "version"}
	}
	var in []json.RawMessage
	if json.Unmarshal(body, &in) != nil {
		return nil, &source.Error{Outcome: source.BadRequest, Detail: "not JSON"}
	}
	recs := make([]source.Record, len(in))
	for i, raw := range in {
		var r record
		if json.Unmarshal(raw, &r) != nil {
			return nil, &source.Error{Outcome: source.BadRequest, Detail: "record"}
		}
		if r.Panic == "runtime" {
			i += len(recs)
		} else if r.Panic != "" {
			panic(r.Panic)
		}
		rec := &recs[i]
		rec.VendorID, rec.Tenant, rec.Test, rec.Raw, rec.Canonical = r.ID, r.Tenant, r.Test, raw, raw
		if r.Domain != "" {
			rec.Routes = []source.Route{{Kind: source.RouteDomain, Value: r.Domain}}
		}
		rec.Event.Person = visitor.Person{FullName: "Ada Example", Emails: []visitor.Email{{Address: r.Email}}}
		rec.Event.Visit.Pages = make([]visitor.Page, r.Pages)
		rec.Event.Attribution.UserSegment = r.Extra
	}
	return recs, nil
}

func (v vendor) Reply(r source.Result) source.Reply {
	failed := func(status int) source.Reply {
		return source.Reply{Status: status, Body: map[string]string{"error": string(r.Outcome)}}
	}
	switch r.Outcome {
	case source.Accepted, source.AcceptedTest:
		return source.Reply{Status: 200, Body: map[string]any{"success": true, "event_id": r.EventID}}
	case source.Parked:
		if v.lenient {
			return source.Reply{Status: 200, Body: map[string]bool{"received": true}}
		}
		return source.Reply{Status: 400, Body: map[string]string{"error": string(r.Why)}}
	case source.BadMethod:
		return failed(405)
	case source.Unauthenticated:
		return failed(401)
	case source.TooLarge:
		return failed(413)
	}
	return failed(503)
}

// header is a verifier: the request needs one header's value; its delivery id is "signed".
type header struct{ signed bool }

func (h header) Verify(r *signature.Request) (string, error) {
	switch {
	case r.Header.Get("X-Secret") != "secret-of-the-header":
		return "", signature.ErrUnauthenticated
	case h.signed:
		return "delivery-1", nil
	}
	return "", nil
}

// topic is a publisher that keeps its messages, or fails.
type topic struct {
	fail func(m *queue.Message) error

	mu   sync.Mutex
	msgs []*queue.Message
}

func (p *topic) Publish(ctx context.Context, m *queue.Message) (string, error) {
	if err := queue.CheckMessage(m); err != nil {
		return "", err
	}
	if p.fail != nil {
		if err := p.fail(m); err != nil {
			return "", err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.msgs = append(p.msgs, m)
	return "1", ctx.Err()
}

func (p *topic) messages() []*queue.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.msgs
}

// outage fails as the real driver does, with a text that must not reach the log.
func outage(*queue.Message) error {
	return code.New(code.Unavailable, "publish", nil)
}

// finder knows one domain; another is an outage.
type finder struct{}

func (finder) ByRoute(_ context.Context, r source.Route) (visitor.TenantID, bool, error) {
	switch r.Value {
	case "shop.example.com":
		return "acme", true, nil
	case "down.example.com":
		return "", false, errors.New("cannot look up ada@example.com")
	}
	return "", false, nil
}

// logs is a buffer for concurrent loggers.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines are the logged lines with a message.
func (l *logs) lines(t testing.TB, message string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for s := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatalf("log line: %v", err)
		}
		if m["message"] == message {
			out = append(out, m)
		}
	}
	return out
}

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// bundle is a handler with everything around it.
type bundle struct {
	h            *ingest.Handler
	events, dead *topic
	logs         *logs
}

// setup makes a handler with the endpoints strict, lenient, signed and closed (which speaks for globex alone).
func setup(t testing.TB, change ...func(*ingest.Options)) *bundle {
	t.Helper()
	b := &bundle{events: &topic{}, dead: &topic{}, logs: &logs{}}
	logger, err := telemetry.New(b.logs, telemetry.Options{Level: slog.LevelDebug})
	if err != nil {
		t.Fatal(err)
	}
	ep := func(name string, v vendor, h header, tenants ...visitor.TenantID) ingest.Endpoint {
		return ingest.Endpoint{Endpoint: resolve.Endpoint{Name: name, Adapter: v, Tenants: tenants}, Verifier: h}
	}
	o := ingest.Options{
		Endpoints: []ingest.Endpoint{
			ep("strict", vendor{name: "mdb"}, header{}),
			ep("lenient", vendor{name: "lead", lenient: true}, header{}),
			ep("signed", vendor{name: "mid"}, header{signed: true}),
			ep("closed", vendor{name: "mdb"}, header{}, "globex"),
		},
		Events: b.events, DeadLetters: b.dead, Finder: finder{}, Logger: logger,
		MaxBody: 1 << 20, Now: func() time.Time { return now },
	}
	for _, c := range change {
		c(&o)
	}
	if b.h, err = ingest.New(o); err != nil {
		t.Fatal(err)
	}
	return b
}

// post makes an authentic request.
func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path+"?token=token-of-the-url", strings.NewReader(body))
	r.Header.Set("X-Secret", "secret-of-the-header")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "vendor/1")
	r.Header.Set("X-Forwarded-For", "192.0.2.71")
	r.Header.Set("Function-Execution-Id", "x1")
	return r
}

func (b *bundle) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	return w
}

// broken is a body that ends before its time.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
