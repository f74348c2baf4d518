package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/redact"
)

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "project: from-file\nhttp: {port: 1001}\npubsub: {emulator_host: 'file:1'}\nfirestore: {emulator_host: 'file:1'}\n"
	for _, tc := range []struct {
		name      string
		file      string
		env       []string
		overrides map[string]any
		key       string
		want      string
		origin    Origin
	}{
		{name: "default", key: "http.port", want: "8080", origin: FromDefault},
		{name: "file", file: file, key: "http.port", want: "1001", origin: FromFile},
		{name: "conventional beats file", file: file, env: []string{"PORT=1002"}, key: "http.port", want: "1002", origin: FromEnv},
		{name: "usher beats conventional", file: file, env: []string{"PORT=1002", "USHER_HTTP_PORT=1003"}, key: "http.port", want: "1003", origin: FromEnv},
		{
			name: "flag beats all", file: file, env: []string{"PORT=1002", "USHER_HTTP_PORT=1003"},
			overrides: map[string]any{"http.port": 1004}, key: "http.port", want: "1004", origin: FromFlag,
		},
		{name: "bad conventional is not read", env: []string{"PORT=x", "USHER_HTTP_PORT=1003"}, key: "http.port", want: "1003", origin: FromEnv},
		{name: "empty is unset", file: file, env: []string{"USHER_HTTP_PORT=", "PORT="}, key: "http.port", want: "1001", origin: FromFile},
		{name: "null is unset", file: "http: {port: null}", key: "http.port", want: "8080", origin: FromDefault},
		{name: "last wins", env: []string{"PORT=1", "PORT=2"}, key: "http.port", want: "2", origin: FromEnv},
		{name: "project", file: file, env: []string{"GOOGLE_CLOUD_PROJECT=from-cloud"}, key: "project", want: "from-cloud", origin: FromEnv},
		{name: "usher project", env: []string{"GOOGLE_CLOUD_PROJECT=from-cloud", "USHER_PROJECT=from-usher"}, key: "project", want: "from-usher", origin: FromEnv},
		{name: "pubsub emulator", file: file, env: []string{"PUBSUB_EMULATOR_HOST=[::1]:8085"}, key: "pubsub.emulator_host", want: "[::1]:8085", origin: FromEnv},
		{name: "firestore emulator", file: file, env: []string{"FIRESTORE_EMULATOR_HOST=localhost:8086"}, key: "firestore.emulator_host", want: "localhost:8086", origin: FromEnv},
		{name: "nested by underscore", env: []string{"USHER_PUBSUB_SUBSCRIPTION=other-daemon"}, key: "pubsub.subscription", want: "other-daemon", origin: FromEnv},
		{name: "duration", env: []string{"USHER_CONSUMER_BATCH_LINGER=7ms"}, key: "consumer.batch_linger", want: "7ms", origin: FromEnv},
		{name: "number", env: []string{"USHER_LOG_SUCCESS_SAMPLE=0.1"}, key: "log.success_sample", want: "0.1", origin: FromEnv},
		{name: "value with equals sign", env: []string{"USHER_PUBSUB_TOPIC=a=b", "USHER_PUBSUB_TOPIC=abc", "junk"}, key: "pubsub.topic", want: "abc", origin: FromEnv},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			opts := Options{Env: tc.env, Overrides: tc.overrides}
			if tc.file != "" {
				opts.File = writeFile(t, tc.file)
			}
			values := load(t, opts).Values()
			i := slices.IndexFunc(values, func(v Value) bool { return v.Key == tc.key })
			if i < 0 {
				t.Fatalf("no value of %s", tc.key)
			}
			if diff := cmp.Diff(Value{tc.key, tc.want, tc.origin}, values[i]); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEnvSetsEveryLeaf gives each leaf a value of its complete.yaml through the environment.
func TestEnvSetsEveryLeaf(t *testing.T) {
	t.Parallel()
	want := completeConfig()
	want.Endpoints = []Endpoint{}
	var env []string
	for _, v := range want.Values() {
		if v.Key != endpointsKey {
			env = append(env, envName(v.Key)+"="+v.Value)
		}
	}
	got := load(t, Options{Env: env})
	if diff := cmp.Diff(want, got, ignoreOrigins); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestEndpointsByEnvironment(t *testing.T) {
	t.Parallel()
	got := load(t, Options{
		File: "testdata/complete.yaml",
		Env: []string{
			`USHER_ENDPOINTS=[{"name":"lead-pipe","source":"leadpipe","auth":{"mode":"url_token","secrets_file":"testdata/secrets.txt"}}]`,
		},
	})
	secrets := []redact.Secret{"test-first-secret-in-a-file", "test-second-secret-in-a-file"}
	if len(got.Endpoints) != 1 || !slices.Equal(got.Endpoints[0].Auth.Secrets, secrets) {
		t.Errorf("endpoints do not replace the file's, or the secrets file was not found in the working directory: %v", got.Endpoints)
	}
	want := []Value{
		{"endpoints[0].name", "lead-pipe", FromEnv},
		{"endpoints[0].source", "leadpipe", FromEnv},
		{"endpoints[0].tenants", "", FromDefault}, // the file's endpoint had tenants
		{"endpoints[0].auth.mode", "url_token", FromEnv},
		{"endpoints[0].auth.header", "", FromDefault},
		{"endpoints[0].auth.secrets", "<secret>,<secret>", FromEnv},
		{"endpoints[0].auth.secrets_file", "testdata/secrets.txt", FromEnv},
		{"endpoints[0].auth.tolerance", "5m", FromDefault},
		{"endpoints[0].repeat_after", "0s", FromDefault},
	}
	values := got.Values()
	if diff := cmp.Diff(want, values[len(values)-len(want):]); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestEndpointSecretsByEnvironment(t *testing.T) {
	t.Parallel()
	got := load(t, Options{File: "testdata/complete.yaml", Env: []string{
		"USHER_ENDPOINTS_MIDBOUND_MAIN_SECRETS=whsec_TkVXTkVXTkVXTkVXTkVXTkVXTkVXTkVX, whsec_VEVTVFRFU1RURVNUVEVTVFRFU1RURVNU,",
		"USHER_ENDPOINTS_LEADPIPE_SECRETS=test-secret-beats-secrets-file",
	}})
	want := []redact.Secret{"whsec_TkVXTkVXTkVXTkVXTkVXTkVXTkVXTkVX", "whsec_VEVTVFRFU1RURVNUVEVTVFRFU1RURVNU"}
	if !slices.Equal(got.Endpoints[0].Auth.Secrets, want) {
		t.Error("the environment's secrets do not replace the file's")
	}
	if !slices.Equal(got.Endpoints[1].Auth.Secrets, []redact.Secret{"test-secret-beats-secrets-file"}) {
		t.Error("the environment's secrets do not replace those of secrets_file")
	}
	for _, v := range got.Values() {
		if v.Key == "endpoints[0].auth.secrets" && v.Origin != FromEnv {
			t.Errorf("origin of the secrets = %s, want env", v.Origin)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		env  []string
		want string // "" for none
	}{
		{"others are ignored", []string{"PATH=/bin", "USHERS=1", "HOME", "=C:=C:\\"}, ""},
		{"known ones that are no keys", []string{"USHER_CONFIG=", "USHER_DEV_ADDR=x", "USHER_REQUIRE_EMULATORS=1", "USHER_TEST_ANY=1"}, ""},
		{"kubernetes service links", []string{
			"USHER_SERVICE_HOST=192.0.2.1", "USHER_SERVICE_PORT=80", "USHER_SERVICE_PORT_HTTP=80", "USHER_PORT=tcp://192.0.2.1:80",
			"USHER_PORT_80_TCP=tcp://192.0.2.1:80", "USHER_PORT_80_TCP_ADDR=192.0.2.1", "USHER_INGEST_PORT_80_TCP_PORT=80",
		}, ""},
		{"misspelt", []string{"USHER_PUBSUB_SUBSCRIPTON=x"}, "USHER_PUBSUB_SUBSCRIPTON: unknown variable, did you mean USHER_PUBSUB_SUBSCRIPTION?"},
		{"section left out", []string{"USHER_PORT=9000"}, "USHER_PORT: unknown variable, did you mean USHER_HTTP_PORT?"},
		{"far from all", []string{"USHER_WHATEVER_ELSE_THIS_IS=x"}, "USHER_WHATEVER_ELSE_THIS_IS: unknown variable"},
		{"too long to compare", []string{"USHER_" + strings.Repeat("X", 200) + "=x"}, "USHER_" + strings.Repeat("X", 58) + "...: unknown variable"},
		{"secrets of no endpoint", []string{"USHER_ENDPOINTS_A_SECRETS=SENSITIVE"}, "USHER_ENDPOINTS_A_SECRETS: no endpoint named a; is USHER_CONFIG set?"},
		{"integer", []string{"PORT=SENSITIVE"}, "http.port (PORT): want an integer"},
		{"number", []string{"USHER_LOG_SUCCESS_SAMPLE=NaN"}, "log.success_sample (USHER_LOG_SUCCESS_SAMPLE): want a number"},
		{"duration", []string{"USHER_PUBSUB_LEASE=15"}, "pubsub.lease (USHER_PUBSUB_LEASE): want a duration such as 15s or 10m"},
		{"all at once", []string{"USHER_LOG_LEVEL=SENSITIVE", "USHER_PUBSUB_LEASE=SENSITIVE", "USHER_NONE=SENSITIVE"},
			"pubsub.lease (USHER_PUBSUB_LEASE): want a duration such as 15s or 10m\n" +
				"USHER_NONE: unknown variable\n" +
				"log.level (USHER_LOG_LEVEL): want debug, info, warn or error"},
		{"endpoints syntax", []string{"USHER_ENDPOINTS=[SENSITIVE"}, "endpoints (USHER_ENDPOINTS): line 1: not one well-formed YAML document with each key once"},
		{"endpoints type", []string{"USHER_ENDPOINTS=SENSITIVE"}, "endpoints (USHER_ENDPOINTS): want a list"},
		{"short secret", []string{
			"USHER_ENDPOINTS=[{name: a-b, source: generic, auth: {mode: url_token}}]",
			"USHER_ENDPOINTS_A_B_SECRETS=SENSITIVE-SENSITIVE-SENSITIVE,SENSITIVE",
		}, "endpoints[0].auth.secrets[1] (USHER_ENDPOINTS_A_B_SECRETS): want at least 24 bytes"},
		{"only commas", []string{
			"USHER_ENDPOINTS=[{name: a, source: generic, auth: {mode: url_token, secrets: [SENSITIVE-SENSITIVE-SENSITIVE]}}]",
			"USHER_ENDPOINTS_A_SECRETS=, ,",
		}, "endpoints[0].auth.secrets (USHER_ENDPOINTS_A_SECRETS): required; an endpoint without authentication spells it auth.mode: unsigned"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if _, err := Load(Options{Env: tc.env}); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("Load: got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}
