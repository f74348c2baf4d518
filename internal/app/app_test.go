package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/devlink"
	"github.com/usherhq/usher/internal/profile"
	"github.com/usherhq/usher/internal/queue/memqueue"
	"github.com/usherhq/usher/internal/redact"
	"github.com/usherhq/usher/internal/signature"
	"github.com/usherhq/usher/internal/store/memstore"
)

func load(t *testing.T, env ...string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestVersion(t *testing.T) { //nolint:paralleltest // it changes what the linker stamps
	if Version() == "" {
		t.Error("no version without a stamp")
	}
	version = "v1.2.3"
	defer func() { version = "" }()
	if got := Version(); got != "v1.2.3" {
		t.Errorf("Version() = %q, want the stamp", got)
	}
}

func TestCleanupsRunLastInFirstOut(t *testing.T) {
	t.Parallel()
	var c cleanups
	var order []string
	broken := errors.New("broken")
	for _, name := range []string{"first", "second", "third"} {
		c.add(name, func(context.Context) error {
			order = append(order, name)
			if name == "second" {
				return broken
			}
			return nil
		})
	}
	err := c.run(t.Context())
	if !errors.Is(err, broken) || err.Error() != "stop second: broken" {
		t.Errorf("error %v, want that of the second by its name", err)
	}
	if diff := cmp.Diff([]string{"third", "second", "first"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if err := c.run(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("second run: %v, %v, want nothing to do", err, order)
	}
}

func TestEndpointsReportEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := Endpoints(&config.Config{Endpoints: []config.Endpoint{
		{Name: "a", Source: "nobody", Auth: config.Auth{Mode: config.AuthUnsigned}},
		{Name: "b", Source: "midbound", Auth: config.Auth{Mode: config.AuthStandardWebhooks, Secrets: []redact.Secret{"short"}}},
		{Name: "c", Source: "nobody", Auth: config.Auth{Mode: "nonsense"}},
	}})
	want := []string{
		"endpoints[0].source: unknown source: want one of leadpipe, mdb_legacy, midbound",
		"endpoints[1].auth: standard webhooks: secret 1: secret is empty or too short",
		"endpoints[2].source: unknown source: want one of leadpipe, mdb_legacy, midbound",
		"endpoints[2].auth: mode: unknown",
	}
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// endpointsOfEveryMode has one endpoint for each way to authenticate.
func endpointsOfEveryMode() []config.Endpoint {
	key := []redact.Secret{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
	auth := func(mode config.AuthMode, header string) config.Auth {
		return config.Auth{Mode: mode, Header: header, Secrets: key}
	}
	return []config.Endpoint{
		{Name: "standard", Source: "midbound", Auth: auth(config.AuthStandardWebhooks, "")},
		{Name: "hmac", Source: "leadpipe", Auth: auth(config.AuthHMACSHA256, "X-Signature")},
		{Name: "shared", Source: "leadpipe", Auth: auth(config.AuthSharedSecret, "X-Secret")},
		{Name: "token", Source: "mdb_legacy", Tenants: []string{"acme"}, RepeatAfter: 1, Auth: auth(config.AuthURLToken, "")},
		{Name: "unsigned", Source: "mdb_legacy", Auth: config.Auth{Mode: config.AuthUnsigned}},
	}
}

// TestWebhooksVerify signs for an endpoint of each mode and has the endpoint's own verifier check it.
func TestWebhooksVerify(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Endpoints: endpointsOfEveryMode()}
	endpoints, err := Endpoints(cfg)
	if err != nil {
		t.Fatal(err)
	}
	infos := EndpointInfos(cfg)
	simulated, err := SimulatedEndpoints(infos)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range endpoints {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			if got, want := simulated[i].Signer == nil, e.Name == "unsigned"; got != want {
				t.Errorf("generator has no signer: %v, want %v", got, want)
			}
			body := []byte(`{"a":1}`)
			req, err := NewWebhook(t.Context(), "http://127.0.0.1:1", &infos[i], "acme", body)
			if err != nil {
				t.Fatal(err)
			}
			if want := "/v1/ingest/" + e.Name + "/acme"; req.URL.Path != want {
				t.Errorf("path %q, want %q", req.URL.Path, want)
			}
			got := &signature.Request{
				Header: req.Header, Query: req.URL.Query(), Body: body, Endpoint: e.Name, Tenant: "acme", Now: time.Now(),
			}
			if _, err := e.Verifier.Verify(got); err != nil {
				t.Errorf("own verifier: %v", err)
			}
			got.Body, got.Tenant = []byte(`{"a":2}`), "globex"
			if _, err := e.Verifier.Verify(got); err == nil && e.Name != "unsigned" && e.Name != "shared" {
				t.Error("another body for another tenant verifies")
			}
		})
	}
	if endpoints[3].RepeatAfter != 1 || len(endpoints[3].Tenants) != 1 || endpoints[3].Tenants[0] != "acme" {
		t.Errorf("endpoint %+v lost its tenants or repeat_after", endpoints[3])
	}
}

func TestNewWebhookErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		base string
		e    devlink.Endpoint
	}{
		"mode":   {"http://127.0.0.1", devlink.Endpoint{Name: "a", Mode: "nonsense"}},
		"secret": {"http://127.0.0.1", devlink.Endpoint{Name: "a", Mode: "url_token", Secret: "short"}},
		"base":   {"http://[::1", devlink.Endpoint{Name: "a", Mode: "unsigned"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewWebhook(t.Context(), tc.base, &tc.e, "", nil); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := SimulatedEndpoints([]devlink.Endpoint{{Name: "a", Mode: "nonsense"}}); err == nil {
		t.Error("SimulatedEndpoints: no error")
	}
}

func TestNewIngestAnswers(t *testing.T) {
	t.Parallel()
	cfg := load(t)
	cfg.Endpoints = endpointsOfEveryMode()
	b := &Backend{Store: memstore.New(memstore.Options{}), Queue: memqueue.New(memqueue.Options{})}
	defer closeBackend(t, b)
	var logs bytes.Buffer
	logger, err := NewLogger(&logs, cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewIngest(cfg, b, logger)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/v1/ingest/token": 401, "/v1/ingest/nothing": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("{}")))
		if w.Code != want {
			t.Errorf("POST %s = %d, want %d", path, w.Code, want)
		}
	}
	if n := strings.Count(logs.String(), `"message":"receipt"`); n != 2 {
		t.Errorf("%d receipts for 2 requests:\n%s", n, logs.String())
	}
	cfg.Endpoints[0].Source = "nobody"
	if _, err := NewIngest(cfg, b, logger); err == nil {
		t.Error("an unknown source is accepted")
	}
}

// TestTargetsRecover builds a function from a configuration that is not usable.
func TestTargetsRecover(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	targets := Targets(nil, &logs)
	if len(targets) != 1 || targets[0].Name != "Ingest" || targets[0].Path != "/v1/ingest/" {
		t.Fatalf("targets %+v", targets)
	}
	w := httptest.NewRecorder()
	targets[0].Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/ingest/mdb", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d without a project, want 503", w.Code)
	}
	var line map[string]any
	if err := json.Unmarshal(logs.Bytes(), &line); err != nil {
		t.Fatalf("want one line: %v in\n%s", err, logs.String())
	}
	text, _ := line["error"].(string)
	if line["severity"] != "ERROR" || line["message"] != "receipt" || line["outcome"] != "failed" || line["status"] != 503.0 ||
		!strings.Contains(text, "project (USHER_PROJECT): required") {
		t.Errorf("receipt %s", logs.String())
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	logger, err := NewLogger(&logs, load(t), "serve")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	Refuse(logger).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/ingest/mdb", nil))
	if w.Code != http.StatusServiceUnavailable || strings.Count(logs.String(), `"outcome":"failed","status":503`) != 1 {
		t.Errorf("answer %d, logged %s", w.Code, logs.String())
	}
}

func TestOpenOperator(t *testing.T) {
	t.Parallel()
	if _, err := OpenOperator(t.Context(), load(t), ""); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("error %v, want %v", err, ErrNoDatabase)
	}
	cfg := load(t, "FIRESTORE_EMULATOR_HOST=127.0.0.1:1")
	op, err := OpenOperator(t.Context(), cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Close(); err != nil {
		t.Error(err)
	}
	if cfg.Project != emulatorProject {
		t.Errorf("project %q, want %q", cfg.Project, emulatorProject)
	}
}

func TestRegistryRefusesASecondOfTheSameName(t *testing.T) {
	t.Parallel()
	r, err := NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, reg := range r.Registrations() {
		names = append(names, reg.Name)
	}
	if diff := cmp.Diff([]string{"filter", "profile", "score"}, names); diff != "" {
		t.Errorf("processors (-want +got):\n%s", diff)
	}
	if _, err := NewRegistry(profile.Processor{}); err == nil {
		t.Error("a second profile is accepted")
	}
}

func closeBackend(t *testing.T, b *Backend) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
