package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// schemaID names the schema; nothing is fetched from it.
const schemaID = "https://github.com/usherhq/usher/config/usher.schema.json"

const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// JSONSchema is the schema of the configuration file (draft 2020-12), for editors. It is checked in as
// usher.schema.json. [Load] checks more than a schema can say.
func JSONSchema() ([]byte, error) {
	s := object(rootFields())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = schemaID
	s["title"] = "usher's configuration"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(b, '\n'), nil
}

func object(fields []field) map[string]any {
	props := make(map[string]any, len(fields))
	var required []string
	for _, f := range fields {
		props[f.name] = f.schema()
		// The required keys of the root have defaults; those of a list's elements do not.
		if f.inList && f.tag.Get("required") != "" {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required != nil {
		s["required"] = required
	}
	return s
}

func (f *field) schema() map[string]any {
	if f.isSection() {
		return object(f.fields)
	}
	s := f.valueSchema()
	if f.isList() {
		s = map[string]any{"type": "array", "items": s}
	} else if def := f.defaultValue(); def != nil {
		s["default"] = def
	}
	s["description"] = f.tag.Get("desc")
	return s
}

// valueSchema is the schema of a scalar, or of a list's element.
func (f *field) valueSchema() map[string]any {
	switch {
	case f.isObjects():
		return object(f.fields)
	case f.isSecret():
		return map[string]any{"type": "string", "minLength": minSecret}
	case f.typ == durationType:
		return map[string]any{"type": "string", "pattern": durationPattern}
	case f.typ.Kind() == reflect.Int:
		return f.bounded("integer")
	case f.typ.Kind() == reflect.Float64:
		return f.bounded("number")
	}
	s := map[string]any{"type": "string"}
	if enum := f.enum(); enum != nil {
		s["enum"] = enum
	}
	if fm, ok := formats[f.tag.Get("format")]; ok {
		s["pattern"] = fm.pattern
		if !f.isList() && f.tag.Get("required") == "" {
			s["pattern"] = "^$|" + fm.pattern
		}
	}
	return s
}

func (f *field) bounded(typ string) map[string]any {
	return map[string]any{
		"type":    typ,
		"minimum": json.Number(strconv.FormatFloat(f.bound(f.tag.Get("min")), 'f', -1, 64)),
		"maximum": json.Number(strconv.FormatFloat(f.bound(f.tag.Get("max")), 'f', -1, 64)),
	}
}

// defaultValue is the default as the file would have it, or nil.
func (f *field) defaultValue() any {
	v := defaults()[f.key]
	if f.inList {
		v = nil
		if d := f.tag.Get("default"); d != "" {
			v = mustDuration(d)
		}
	}
	if f.typ == durationType && v != nil {
		return text(reflect.ValueOf(v))
	}
	return v
}
