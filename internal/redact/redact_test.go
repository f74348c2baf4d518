package redact_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/usherhq/usher/internal/redact"
)

const plain = "test-secret-nobody-may-see"

type holder struct {
	Name    string
	Secret  redact.Secret
	Pointer *redact.Secret
	List    []redact.Secret
	Map     map[string]redact.Secret
}

func newHolder() holder {
	s := redact.Secret(plain)
	return holder{"holder", s, &s, []redact.Secret{s}, map[string]redact.Secret{"key": s}}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c", "%U", "%10.3s", "%!"} {
		for name, v := range map[string]any{"secret": redact.Secret(plain), "holder": newHolder(), "list": newHolder().List} {
			t.Run(verb+" "+name, func(t *testing.T) {
				t.Parallel()
				assertMasked(t, fmt.Sprintf(verb, v))
			})
		}
	}
	if got := fmt.Sprintf("%v %s %#v", redact.Secret(plain), redact.Secret(plain), redact.Secret(plain)); got != "<secret> <secret> <secret>" {
		t.Errorf("printed as %q", got)
	}
	if got := fmt.Sprint(fmt.Errorf("open: %v", redact.Secret(plain))); got != "open: <secret>" {
		t.Errorf("error = %q", got)
	}
}

func TestEmptyStaysEmpty(t *testing.T) {
	t.Parallel()
	var s redact.Secret
	if got := fmt.Sprintf("[%v][%#v][%s]", s, s, s.LogValue()); got != "[][][]" {
		t.Errorf("an empty secret prints as %q", got)
	}
}

func TestEncoders(t *testing.T) {
	t.Parallel()
	for name, encode := range map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"slog json": func(v any) ([]byte, error) {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).InfoContext(t.Context(), "test", "value", v)
			return b.Bytes(), nil
		},
		"slog text": func(v any) ([]byte, error) {
			var b bytes.Buffer
			slog.New(slog.NewTextHandler(&b, nil)).InfoContext(t.Context(), "test", "value", v)
			return b.Bytes(), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, v := range []any{redact.Secret(plain), newHolder()} {
				b, err := encode(v)
				if err != nil {
					t.Fatal(err)
				}
				assertMasked(t, string(b))
				if s := string(b); !strings.Contains(s, "<secret>") && !strings.Contains(s, `\u003csecret\u003e`) {
					t.Errorf("no mask in %s", s)
				}
			}
		})
	}
}

func TestReveal(t *testing.T) {
	t.Parallel()
	var fromJSON, fromYAML struct{ Secret redact.Secret }
	if err := json.Unmarshal([]byte(`{"Secret":"`+plain+`"}`), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(`secret: `+plain), &fromYAML); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]redact.Secret{"json": fromJSON.Secret, "yaml": fromYAML.Secret, "literal": plain} {
		if s.Reveal() != plain {
			t.Errorf("%s: the secret was not read", name)
		}
	}
}

func assertMasked(t *testing.T, out string) {
	t.Helper()
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), fmt.Sprintf("% x", plain), plain[:6]} {
		if strings.Contains(out, form) {
			t.Errorf("the secret is printed")
		}
	}
}
