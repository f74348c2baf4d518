package visitor_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/usherhq/usher/consumer/visitor"
)

var update = flag.Bool("update", false, "write the generated JSON Schema")

const (
	schemaFile  = "schema/v1.json"
	packagePath = "github.com/usherhq/usher/consumer/visitor"
)

// TestJSONSchema_fresh fails when the checked-in schema is not what the types give.
// Regenerate with: go test ./consumer/visitor -run JSONSchema_fresh -update.
func TestJSONSchema_fresh(t *testing.T) {
	t.Parallel()

	want := generateSchema(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(visitor.JSONSchema())); diff != "" {
		t.Errorf("%s is stale: run this test with -update (-generated +checked in):\n%s", schemaFile, diff)
	}
}

func TestJSONSchema_isACopy(t *testing.T) {
	t.Parallel()

	visitor.JSONSchema()[0] = 'x'
	if got := visitor.JSONSchema()[0]; got != '{' {
		t.Errorf("JSONSchema()[0] = %q after a caller changed its copy, want '{'", got)
	}
}

// TestJSONSchema_describesEvents holds real events to the schema's own statements about names and enumerations.
func TestJSONSchema_describesEvents(t *testing.T) {
	t.Parallel()

	s := parseSchema(t, visitor.JSONSchema())
	for _, tc := range []struct {
		path string
		want any
	}{
		{"schema.type", "string"},
		{"stage.enum", []any{"resolved", "qualified", "enriched", "validated", "finalized"}},
		{"origin.enum", []any{"webhook", "cookbook"}},
		{"identified_at.format", "date-time"},
		{"tenant_id.description", "TenantID is the tenant the event belongs to."},
		{"receipt.properties.received_at.format", "date-time"},
		{"person.properties.emails.items.properties.kind.enum", []any{"professional", "personal"}},
		{"company.properties.location.properties.country_code.description", "ISO 3166-1 alpha-2"},
		{"attribution.properties.custom_attributes.type", "object"},
	} {
		at := s["properties"]
		for _, k := range strings.Split(tc.path, ".") {
			m, _ := at.(map[string]any)
			at = deref(s, m)[k]
			if next, ok := at.(map[string]any); ok {
				at = deref(s, next)
			}
		}
		if diff := cmp.Diff(tc.want, at); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.path, diff)
		}
	}
	want := []any{"schema", "id", "type", "tenant_id", "source", "origin", "identified_at", "receipt"}
	if diff := cmp.Diff(want, s["required"]); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	enums := constants(t)
	r := &jsonschema.Reflector{
		Anonymous:                 true,
		AllowAdditionalProperties: true,
		ExpandedStruct:            true,
		Mapper: func(typ reflect.Type) *jsonschema.Schema {
			if values := enums[typ.Name()]; typ.PkgPath() == packagePath && values != nil {
				return &jsonschema.Schema{Type: "string", Enum: values}
			}
			return nil
		},
	}
	if err := r.AddGoComments(packagePath, "./"); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&visitor.Event{})
	s.ID = "https://github.com/usherhq/usher/consumer/visitor/schema/v1.json"
	s.Title = "usher visitor event " + visitor.Schema
	s.Description = "One visitor identification. Within a major version only optional fields and enumerated values " +
		"are added; readers ignore what they do not know."
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// constants collects the package's typed text constants: the values of each enumeration, in source order.
func constants(t *testing.T) map[string][]any {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]any{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			typ, _ := spec.Type.(*ast.Ident)
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && typ != nil && lit.Kind == token.STRING {
					s, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					out[typ.Name] = append(out[typ.Name], s)
				}
			}
			return true
		})
	}
	return out
}
