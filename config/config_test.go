package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write usher.schema.json anew")

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	cfg := load(t, Options{})
	for _, f := range leaves(rootFields()) {
		if _, ok := defaults()[f.key]; !ok {
			t.Errorf("default.yaml lacks %s", f.key)
		}
	}
	for _, v := range cfg.Values() {
		if v.Origin != FromDefault {
			t.Errorf("origin of %s = %s, want default", v.Key, v.Origin)
		}
	}
}

func TestValidateRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, project, pubsub, firestore string
		want                             string
	}{
		{name: "project", project: "example-project"},
		{name: "emulators", pubsub: "localhost:1", firestore: "localhost:2"},
		{name: "nothing", want: "project (USHER_PROJECT): required; GOOGLE_CLOUD_PROJECT is read too"},
		{name: "one emulator", pubsub: "localhost:1", want: "project (USHER_PROJECT): required; GOOGLE_CLOUD_PROJECT is read too"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := load(t, Options{})
			cfg.Project, cfg.PubSub.EmulatorHost, cfg.Firestore.EmulatorHost = tc.project, tc.pubsub, tc.firestore
			got := ""
			if err := cfg.ValidateRun(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("ValidateRun = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts Options
		want []string
	}{
		{"defaults", Options{}, []string{"project (USHER_PROJECT): empty, so only usher dev and emulators work"}},
		{"unsigned", Options{File: "testdata/complete.yaml"}, []string{"endpoints[4].auth.mode: unsigned, so anybody who knows the URL can send"}},
		{"none", Options{Env: []string{"USHER_PROJECT=example-project"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, load(t, tc.opts).Warnings()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShutdownBudgetFitsGrace(t *testing.T) {
	t.Parallel()
	cfg := load(t, Options{})
	var sum time.Duration
	for _, p := range cfg.ShutdownBudget() {
		if p.Name == "" || p.Max <= 0 {
			t.Errorf("part %+v has no name or no time", p)
		}
		sum += p.Max
	}
	if want := cfg.DrainTime() + FlushTime + CloseTime; sum != want {
		t.Errorf("drain takes up to %s, want %s", sum, want)
	}
	if cloudRun := 10 * time.Second; cfg.Consumer.ShutdownGrace >= cloudRun {
		t.Errorf("shutdown_grace = %s, want less than Cloud Run's %s", cfg.Consumer.ShutdownGrace, cloudRun)
	}
	cfg.Consumer.ShutdownGrace = sum
	if err := cfg.Validate(); err != nil {
		t.Errorf("Validate with an exact grace: %v", err)
	}
	cfg.Consumer.ShutdownGrace--
	if err := cfg.Validate(); err == nil {
		t.Error("Validate accepts a grace shorter than the drain")
	}
}

// TestGraceOfGKE: the configuration that the docs give for Kubernetes is a valid one, and uses what a pod has.
func TestGraceOfGKE(t *testing.T) {
	t.Parallel()
	cfg := load(t, Options{File: "testdata/gke.yaml"})
	if pod := 30 * time.Second; cfg.Consumer.ShutdownGrace != 25*time.Second || cfg.DrainTime() <= 20*time.Second ||
		cfg.Consumer.ShutdownGrace >= pod {
		t.Errorf("a drain of %s within a grace of %s", cfg.DrainTime(), cfg.Consumer.ShutdownGrace)
	}
}

func TestLeaves(t *testing.T) {
	t.Parallel()
	keys, envs := map[string]bool{}, map[string]string{}
	for _, l := range Leaves() {
		if l.Description == "" || l.Type == "" {
			t.Errorf("%s has no desc or no type", l.Key)
		}
		if keys[l.Key] {
			t.Errorf("%s is listed twice", l.Key)
		}
		keys[l.Key] = true
		for _, env := range []string{l.Env, l.Alias} {
			if other, taken := envs[env]; env != "" && taken {
				t.Errorf("%s sets both %s and %s", env, other, l.Key)
			}
			envs[env] = l.Key
		}
		if l.Env == "" && !strings.HasPrefix(l.Key, "endpoints[].") {
			t.Errorf("%s cannot be set by the environment", l.Key)
		}
	}
	want := Leaf{
		Key: "http.port", Env: "USHER_HTTP_PORT", Alias: "PORT", Type: "integer", Default: "8080", Description: "port to listen on",
	}
	for _, l := range Leaves() {
		if l.Key == want.Key && l != want {
			t.Errorf("leaf = %+v, want %+v", l, want)
		}
	}
	if !keys["http.port"] || !keys["endpoints[].auth.secrets"] {
		t.Error("http.port or endpoints[].auth.secrets is missing")
	}
}

// TestFieldsAreComplete holds every exported field to its tags, so that none is silently left out.
func TestFieldsAreComplete(t *testing.T) {
	t.Parallel()
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			sf := typ.Field(i)
			if !sf.IsExported() {
				continue
			}
			f := field{typ: sf.Type, tag: sf.Tag}
			if sf.Tag.Get("mapstructure") == "" {
				t.Errorf("%s.%s has no key", typ.Name(), sf.Name)
			}
			if name := sf.Tag.Get("format"); name != "" && formats[name].re == nil {
				t.Errorf("%s.%s has an unknown format", typ.Name(), sf.Name)
			}
			for _, tag := range []string{"min", "max"} {
				if s := sf.Tag.Get(tag); s != "" {
					f.bound(s) // panics when malformed
				}
			}
			switch {
			case f.isSection():
				walk(f.typ)
			case f.isObjects():
				walk(f.typ.Elem())
			case f.typ.Kind() == reflect.Int && (sf.Tag.Get("min") == "" || sf.Tag.Get("max") == ""):
				t.Errorf("%s.%s has no bounds", typ.Name(), sf.Name)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

func TestNoSecretIsPrinted(t *testing.T) {
	t.Parallel()
	cfg := load(t, Options{File: "testdata/complete.yaml"})
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, cfg, *cfg)
	}
	for _, e := range cfg.Endpoints {
		fmt.Fprintf(&out, "%+v %#v", e, e.Auth)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).InfoContext(t.Context(), "config", "config", cfg)
	slog.New(slog.NewTextHandler(&out, nil)).InfoContext(t.Context(), "config", "config", cfg, "secrets", cfg.Endpoints[0].Auth.Secrets)
	if err := json.NewEncoder(&out).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewEncoder(&out).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&out).Encode(cfg.Values()); err != nil {
		t.Fatal(err)
	}
	for _, e := range cfg.Endpoints {
		for _, s := range e.Auth.Secrets {
			for _, form := range []string{s.Reveal(), fmt.Sprintf("%x", s.Reveal())} {
				if strings.Contains(out.String(), form) {
					t.Errorf("a secret of %s is printed", e.Name)
				}
			}
		}
	}
	if !strings.Contains(out.String(), "<secret>") {
		t.Error("masked secrets are not visible as such")
	}
}

func TestJSONSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	got, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	const file = "usher.schema.json"
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale; run go test ./config -run JSONSchema -update (-file +generated):\n%s", file, diff)
	}
}

// TestJSONSchemaKnowsEveryKey looks up each leaf in the schema.
func TestJSONSchemaKnowsEveryKey(t *testing.T) {
	t.Parallel()
	b, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Description string
		Properties  map[string]*node
		Items       *node
		Additional  *bool `json:"additionalProperties"`
	}
	var root node
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	for _, l := range Leaves() {
		n := &root
		for part := range strings.SplitSeq(l.Key, ".") {
			name, isList := strings.CutSuffix(part, "[]")
			if n.Additional == nil || *n.Additional {
				t.Errorf("%s: the object around %s takes unknown keys", l.Key, name)
			}
			if n = n.Properties[name]; n == nil {
				t.Fatalf("the schema lacks %s", l.Key)
			}
			if isList {
				n = n.Items
			}
		}
		if n.Description == "" {
			t.Errorf("%s has no description", l.Key)
		}
	}
}

func TestMarkdownTable(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(MarkdownTable()), "\n")
	if want := len(Leaves()) + 2; len(lines) != want {
		t.Errorf("table has %d lines, want %d", len(lines), want)
	}
	for _, want := range []string{
		"| `http.port` | `USHER_HTTP_PORT` or `PORT` | integer | `8080` | port to listen on |",
		"| `log.format` | `USHER_LOG_FORMAT` | string | `json` | json for Cloud Logging, text for a terminal: json or text |",
		"| `identity.window` | `USHER_IDENTITY_WINDOW` | duration | `840h` |",
		"| `endpoints[].auth.secrets` | `USHER_ENDPOINTS_<NAME>_SECRETS` | list of secrets |  |",
	} {
		if !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("table lacks %q", want)
		}
	}
	for _, line := range lines {
		if strings.Count(line, "|")-strings.Count(line, `\|`) != 6 {
			t.Errorf("not five columns: %s", line)
		}
	}
}
