package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usherhq/usher/internal/redact"
)

var ignoreOrigins = cmpopts.IgnoreUnexported(Config{})

func load(t *testing.T, opts Options) *Config {
	t.Helper()
	cfg, err := Load(opts)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return cfg
}

// writeFile writes a configuration file and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// completeConfig is what testdata/complete.yaml says.
func completeConfig() *Config {
	return &Config{
		Project: "example-project",
		Log:     Log{Level: "debug", Format: "text", SuccessSample: 0.25},
		PubSub: PubSub{
			EmulatorHost: "127.0.0.1:8085", Topic: "events", DeadLetterTopic: "dead-letters", Subscription: "events-daemon",
			DeadLetterSubscription: "dead-letters-kept", OverflowTopic: "events-overflow", OverflowSubscription: "events-overflow-daemon",
			Streams: 4, MaxMessages: 4000, MaxBytes: 64 << 20,
			Lease: 20 * time.Second, MaxHold: 15 * time.Minute, PublishTimeout: 12 * time.Second,
		},
		Firestore: Firestore{EmulatorHost: "127.0.0.1:8086", Database: "visitors", Connections: 8},
		Consumer: Consumer{
			BatchEvents: 150, BatchBytes: 1 << 20, BatchLinger: 10 * time.Millisecond, Committers: 8,
			CommitTimeout: 6 * time.Second, ProcessorTimeout: 3 * time.Second, PublishTimeout: 2 * time.Second, TenantConcurrency: 50, ShutdownGrace: 25 * time.Second,
			HealthAddr: "127.0.0.1:9091", ReadyMaxAge: 2 * time.Minute, UsageShards: 16, ProbeIntervalMax: 5 * time.Second, DedupeCache: 50_000,
		},
		Tenants:  Tenants{Staleness: 5 * time.Second, CacheSize: 5000, UnknownGrace: 2 * time.Minute},
		Identity: Identity{Window: 960 * time.Hour, Retention: 2160 * time.Hour},
		HTTP: HTTP{
			Host: "127.0.0.1", Port: 9090, MaxBody: 1 << 20,
			ReadTimeout: 10 * time.Second,
		},
		Endpoints: completeEndpoints(),
	}
}

func completeEndpoints() []Endpoint {
	return []Endpoint{
		{
			Name: "midbound-main", Source: "midbound", Tenants: []string{"acme", "globex"},
			Auth: Auth{
				Mode:      AuthStandardWebhooks,
				Secrets:   []redact.Secret{"whsec_VEVTVFRFU1RURVNUVEVTVFRFU1RURVNU", "whsec_Tk9UQVNFQ1JFVE5PVEFTRUNSRVROT1RB"},
				Tolerance: 2 * time.Minute,
			},
			RepeatAfter: 48 * time.Hour,
		},
		{Name: "leadpipe", Source: "leadpipe", Auth: Auth{
			Mode: AuthHMACSHA256, Header: "x-webhook-signature", SecretsFile: "secrets.txt",
			Secrets:   []redact.Secret{"test-first-secret-in-a-file", "test-second-secret-in-a-file"},
			Tolerance: 5 * time.Minute,
		}},
		{Name: "rb2b", Source: "generic", Auth: Auth{
			Mode: AuthSharedSecret, Header: "x-secret", Tolerance: 5 * time.Minute,
			Secrets: []redact.Secret{"test-shared-secret-of-enough-bytes"},
		}},
		{Name: "snitcher", Source: "generic", Auth: Auth{
			Mode: AuthURLToken, Tolerance: 5 * time.Minute,
			Secrets: []redact.Secret{"test-url-token-of-enough-bytes"},
		}},
		{Name: "cookbook", Source: "mdb_legacy", Auth: Auth{Mode: AuthUnsigned, Tolerance: 5 * time.Minute}},
	}
}

func TestLoadComplete(t *testing.T) {
	t.Parallel()
	got := load(t, Options{File: "testdata/complete.yaml"})
	if diff := cmp.Diff(completeConfig(), got, ignoreOrigins); diff != "" {
		t.Errorf("complete.yaml (-want +got):\n%s", diff)
	}
	for _, v := range got.Values() {
		// A list's elements may leave out keys; nothing else is at its default.
		if v.Origin != FromFile && !strings.HasPrefix(v.Key, "endpoints[") {
			t.Errorf("%s comes from %s: complete.yaml lacks it", v.Key, v.Origin)
		}
	}
}

func TestLoadFileByEnvironment(t *testing.T) {
	t.Parallel()
	got := load(t, Options{Env: []string{"USHER_CONFIG=testdata/complete.yaml"}})
	if got.Project != "example-project" {
		t.Errorf("project = %q: USHER_CONFIG was not read", got.Project)
	}
	got = load(t, Options{File: writeFile(t, "project: other-project"), Env: []string{"USHER_CONFIG=testdata/complete.yaml"}})
	if got.Project != "other-project" {
		t.Errorf("project = %q: Options.File does not beat USHER_CONFIG", got.Project)
	}
}

func TestLoadBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/bad: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(b)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(w))
				}
			}
			cfg, err := Load(Options{File: file})
			if err == nil || cfg != nil {
				t.Fatalf("Load = %v, %v, want no configuration and an error", cfg, err)
			}
			got := strings.TrimPrefix(err.Error(), "read configuration "+file+": ")
			if diff := cmp.Diff(want, strings.Split(got, "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "SENSITIVE") {
				t.Errorf("the error quotes its input: %v", err)
			}
		})
	}
}

func TestLoadUnreadableFile(t *testing.T) {
	t.Parallel()
	large := writeFile(t, strings.Repeat("# filler\n", maxFile/9+1))
	for name, tc := range map[string]struct{ file, want string }{
		"absent":    {"testdata/absent.yaml", "read configuration: open testdata/absent.yaml"},
		"directory": {"testdata", "read configuration: read testdata"},
		"large":     {large, "larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Load(Options{File: tc.file}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Load = %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestLoadOverrides(t *testing.T) {
	t.Parallel()
	got := load(t, Options{Overrides: map[string]any{
		"log.level":              "debug",
		"log.success_sample":     "0.5",
		"http.port":              0,
		"pubsub.publish_timeout": time.Second,
		"consumer.batch_linger":  "1ms",
		"endpoints": []any{
			map[string]any{"name": "a", "source": "generic", "auth": map[string]any{"mode": "unsigned"}},
		},
	}})
	want := load(t, Options{})
	want.Log.Level, want.Log.SuccessSample, want.HTTP.Port = "debug", 0.5, 0
	want.PubSub.PublishTimeout, want.Consumer.BatchLinger = time.Second, time.Millisecond
	want.Endpoints = []Endpoint{{Name: "a", Source: "generic", Auth: Auth{Mode: AuthUnsigned, Tolerance: 5 * time.Minute}}}
	if diff := cmp.Diff(want, got, ignoreOrigins, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("overrides (-want +got):\n%s", diff)
	}
	_, err := Load(Options{Overrides: map[string]any{"http.port": "x", "log.levl": "info", "project": 1, "log": "info"}})
	wantErr := "http.port (USHER_HTTP_PORT): want an integer\n" +
		"log: unknown key\n" +
		"log.levl: unknown key, did you mean log.level?\n" +
		"project (USHER_PROJECT): want a string; quote it"
	if err == nil || err.Error() != wantErr {
		t.Errorf("Load = %v, want\n%s", err, wantErr)
	}
}

func FuzzLoad(f *testing.F) {
	for _, glob := range []string{"default.yaml", "testdata/complete.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", glob, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b), "")
		}
	}
	f.Add("", `[{"name":"a","source":"generic","auth":{"mode":"unsigned"}}]`)
	f.Fuzz(func(t *testing.T, file, endpoints string) {
		const secret = "FUZZ-SECRET-FUZZ-SECRET-FUZZ"
		cfg, err := Load(Options{
			File: writeFile(t, file),
			Env:  []string{"USHER_ENDPOINTS=" + endpoints, "USHER_ENDPOINTS_A_SECRETS=" + secret},
		})
		if (cfg == nil) == (err == nil) {
			t.Fatalf("Load = %v, %v, want one of both", cfg, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes a secret")
			}
			return
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("Load returned an invalid configuration: %v", err)
		}
		for _, v := range cfg.Values() {
			if strings.Contains(v.Value, secret) {
				t.Errorf("%s shows a secret", v.Key)
			}
		}
	})
}
