package config

import (
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/usherhq/usher/internal/redact"
)

// field is a key of the configuration as its struct describes it. Reading, checking, the JSON Schema and
// the documentation all walk the same fields.
type field struct {
	name   string // the last part of the key
	key    string // from the root, or from the element in a list
	typ    reflect.Type
	tag    reflect.StructTag
	inList bool    // belongs to a list's elements
	fields []field // of a section, or of a list's elements
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[redact.Secret]()
)

// rootFields describes [Config].
var rootFields = sync.OnceValue(func() []field { return fieldsOf(reflect.TypeFor[Config](), "", false) })

func fieldsOf(t reflect.Type, prefix string, inList bool) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name := sf.Tag.Get("mapstructure")
		if !sf.IsExported() || name == "" {
			continue
		}
		f := field{name: name, key: prefix + name, typ: sf.Type, tag: sf.Tag, inList: inList}
		switch {
		case f.isSection():
			f.fields = fieldsOf(f.typ, f.key+".", inList)
		case f.isObjects():
			f.fields = fieldsOf(f.typ.Elem(), "", true)
		}
		out = append(out, f)
	}
	return out
}

func (f *field) isSection() bool { return f.typ.Kind() == reflect.Struct }
func (f *field) isList() bool    { return f.typ.Kind() == reflect.Slice }
func (f *field) isObjects() bool { return f.isList() && f.typ.Elem().Kind() == reflect.Struct }

func (f *field) isSecret() bool {
	return f.typ == secretType || f.isList() && f.typ.Elem() == secretType
}

func (f *field) enum() []string {
	if s := f.tag.Get("enum"); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}

// typeName is the type as the documentation names it.
func (f *field) typeName() string {
	switch {
	case f.isObjects():
		return "list of " + f.name
	case f.isSecret() && f.isList():
		return "list of secrets"
	case f.isList():
		return "list of strings"
	case f.typ == durationType:
		return "duration"
	case f.typ.Kind() == reflect.Float64:
		return "number"
	case f.typ.Kind() == reflect.Int:
		return "integer"
	default:
		return "string"
	}
}

// leaves returns the fields that hold values, a list's elements excluded.
func leaves(fields []field) []field {
	var out []field
	for _, f := range fields {
		if f.isSection() {
			out = append(out, leaves(f.fields)...)
		} else {
			out = append(out, f)
		}
	}
	return out
}

// rootLeaf is the leaf with the key, or nil.
func rootLeaf(key string) *field {
	for _, f := range leaves(rootFields()) {
		if f.key == key {
			return &f
		}
	}
	return nil
}

// envName is the environment variable of a key.
func envName(key string) string {
	if strings.HasPrefix(key, "endpoints[") {
		return "USHER_ENDPOINTS"
	}
	return "USHER_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}
