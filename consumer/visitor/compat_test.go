package visitor_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/consumer/visitor"
)

// TestJSONSchema_compatible holds the schema to the last released one of its major version: released files are
// never changed, and a release adds one.
func TestJSONSchema_compatible(t *testing.T) {
	t.Parallel()

	old, err := os.ReadFile(lastReleased(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range incompatibilities(parseSchema(t, old), parseSchema(t, visitor.JSONSchema())) {
		t.Errorf("%s: not allowed within a major version", p)
	}
}

func TestIncompatibilities(t *testing.T) {
	t.Parallel()

	// edit changes one part of the released schema, addressed by keys.
	type edit struct {
		at    []string
		value any // nil deletes
	}
	tests := []struct {
		name string
		edit edit
		want []string
	}{
		{"unchanged", edit{[]string{"title"}, "another title"}, nil},
		{"optional field added", edit{[]string{"properties", "extra"}, map[string]any{"type": "string"}}, nil},
		{"nested optional field added", edit{[]string{"$defs", "Visit", "properties", "extra"}, map[string]any{"type": "integer"}}, nil},
		{"description changed", edit{[]string{"$defs", "Visit", "description"}, "new words"}, nil},
		{
			"enum widened",
			edit{[]string{"properties", "origin", "enum"}, []any{"webhook", "cookbook", "import"}},
			nil,
		},
		{"field removed", edit{[]string{"properties", "source_time"}, nil}, []string{"source_time: removed"}},
		{
			"nested field removed",
			edit{[]string{"$defs", "Email", "properties", "validity"}, nil},
			[]string{"person.emails[].validity: removed"},
		},
		{
			"definition used twice",
			edit{[]string{"$defs", "Location", "properties", "city", "type"}, "integer"},
			[]string{"company.location.city: type changed", "person.location.city: type changed"},
		},
		{
			"type changed",
			edit{[]string{"$defs", "Visit", "properties", "pages_viewed", "type"}, "string"},
			[]string{"visit.pages_viewed: type changed"},
		},
		{
			"format changed",
			edit{[]string{"$defs", "Receipt", "properties", "received_at", "format"}, nil},
			[]string{"receipt.received_at: format changed"},
		},
		{
			"items changed",
			edit{[]string{"$defs", "Visit", "properties", "pages", "items"}, map[string]any{"type": "string"}},
			[]string{"visit.pages[]: type changed"},
		},
		{
			"newly required",
			edit{[]string{"$defs", "Page", "required"}, []any{"url", "title"}},
			[]string{"visit.pages[].title: newly required"},
		},
		{
			"new required field",
			edit{[]string{"$defs", "Page"}, map[string]any{
				"type": "object", "required": []any{"url", "extra"},
				"properties": map[string]any{
					"url": map[string]any{"type": "string"}, "title": map[string]any{"type": "string"},
					"signal": map[string]any{"type": "string"}, "extra": map[string]any{"type": "string"},
					"at": map[string]any{"type": "string", "format": "date-time"},
				},
			}},
			[]string{"visit.pages[].extra: newly required"},
		},
		{
			"no longer required",
			edit{[]string{"$defs", "Receipt", "required"}, []any{}},
			[]string{"receipt.received_at: no longer required"},
		},
		{
			"enum narrowed",
			edit{[]string{"properties", "stage", "enum"}, []any{"resolved", "qualified", "enriched", "validated"}},
			[]string{"stage: enum narrowed"},
		},
		{
			"enum introduced",
			edit{[]string{"properties", "source", "enum"}, []any{"midbound"}},
			[]string{"source: enum narrowed"},
		},
		{
			"limit introduced",
			edit{[]string{"properties", "source", "maxLength"}, 3.0},
			[]string{"source: maxLength changed"},
		},
		{
			"object closed",
			edit{[]string{"$defs", "Attribution", "additionalProperties"}, false},
			[]string{"attribution: additionalProperties changed"},
		},
	}
	released, err := os.ReadFile("schema/released/1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			changed := parseSchema(t, released)
			at := changed
			keys := tc.edit.at
			for _, k := range keys[:len(keys)-1] {
				next, ok := at[k].(map[string]any)
				if !ok {
					t.Fatalf("the released schema has no %s", strings.Join(keys, "/"))
				}
				at = next
			}
			if last := keys[len(keys)-1]; tc.edit.value == nil {
				delete(at, last)
			} else {
				at[last] = tc.edit.value
			}
			got := incompatibilities(parseSchema(t, released), changed)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("incompatibilities (-want +got):\n%s", diff)
			}
		})
	}
}

// incompatibilities lists what a reader or writer of the old schema would trip over in the new one.
func incompatibilities(old, updated map[string]any) []string {
	c := &comparer{old: old, updated: updated}
	c.compare("", old, updated)
	slices.Sort(c.found)
	return slices.Compact(c.found)
}

type comparer struct {
	old, updated map[string]any
	found        []string
}

// frozen are the keywords whose value may neither change, appear nor disappear.
var frozen = []string{
	"type", "format", "const", "pattern", "contentEncoding", "additionalProperties",
	"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
}

func (c *comparer) compare(path string, o, n map[string]any) {
	o, n = deref(c.old, o), deref(c.updated, n)
	for _, k := range frozen {
		if !reflect.DeepEqual(o[k], n[k]) {
			c.report(path, k+" changed")
		}
	}
	if !reflect.DeepEqual(o["type"], n["type"]) {
		return // the rest follows from that
	}
	c.enum(path, o, n)
	c.required(path, o, n)
	op, np := object(o["properties"]), object(n["properties"])
	for _, name := range slices.Sorted(maps.Keys(op)) {
		if np[name] == nil {
			c.report(join(path, name), "removed")
			continue
		}
		c.compare(join(path, name), object(op[name]), object(np[name]))
	}
	if o["items"] != nil && n["items"] != nil {
		c.compare(path+"[]", object(o["items"]), object(n["items"]))
	}
}

func (c *comparer) enum(path string, o, n map[string]any) {
	now, closed := n["enum"].([]any)
	if !closed {
		return
	}
	before, _ := o["enum"].([]any)
	narrowed := len(before) == 0
	for _, v := range before {
		narrowed = narrowed || !slices.Contains(now, v)
	}
	if narrowed {
		c.report(path, "enum narrowed")
	}
}

func (c *comparer) required(path string, o, n map[string]any) {
	before, _ := o["required"].([]any)
	now, _ := n["required"].([]any)
	for _, v := range now {
		if !slices.Contains(before, v) {
			c.report(join(path, fmt.Sprint(v)), "newly required")
		}
	}
	for _, v := range before {
		if !slices.Contains(now, v) && object(n["properties"])[fmt.Sprint(v)] != nil {
			c.report(join(path, fmt.Sprint(v)), "no longer required")
		}
	}
}

func (c *comparer) report(path, what string) { c.found = append(c.found, path+": "+what) }

// deref follows a reference into the document's definitions.
func deref(root, s map[string]any) map[string]any {
	ref, _ := s["$ref"].(string)
	if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
		return object(object(root["$defs"])[name])
	}
	return s
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func parseSchema(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// lastReleased returns the file of the highest released minor version of this major one.
func lastReleased(t *testing.T) string {
	t.Helper()
	major, _, _ := strings.Cut(visitor.Schema, ".")
	files, err := filepath.Glob("schema/released/" + major + ".*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no released schema of major %s: %v", major, err)
	}
	return slices.MaxFunc(files, func(a, b string) int { return minor(t, a) - minor(t, b) })
}

func minor(t *testing.T, file string) int {
	t.Helper()
	_, m, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), ".")
	n, err := strconv.Atoi(m)
	if err != nil {
		t.Fatalf("%s: want major.minor.json", file)
	}
	return n
}
