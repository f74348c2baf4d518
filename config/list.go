package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Leaf describes a key that holds a value.
type Leaf struct {
	Key         string // such as "log.level"; "endpoints[].name" for the keys of a list's elements
	Env         string // the variable that sets it, "" where none does
	Alias       string // the conventional variable that is read too, or ""
	Type        string
	Default     string // as it is written in the file
	Description string
}

// Leaves describes every key, in the order of the documentation.
func Leaves() []Leaf {
	var out []Leaf
	for _, f := range leaves(rootFields()) {
		out = append(out, f.describe("", envName(f.key), defaultText(&f)))
		if !f.isObjects() {
			continue
		}
		for _, e := range leaves(f.fields) {
			env := ""
			if e.isSecret() {
				env = "USHER_ENDPOINTS_<NAME>_SECRETS"
			}
			out = append(out, e.describe(f.key+"[].", env, e.tag.Get("default")))
		}
	}
	return out
}

func (f *field) describe(prefix, env, def string) Leaf {
	desc := f.tag.Get("desc")
	if enum := f.enum(); enum != nil && desc != "" {
		desc += ": " + orList(enum)
	}
	return Leaf{
		Key:         prefix + f.key,
		Env:         env,
		Alias:       f.tag.Get("alias"),
		Type:        f.typeName(),
		Default:     def,
		Description: desc,
	}
}

func defaultText(f *field) string {
	v := reflect.ValueOf(defaults()[f.key])
	if f.isList() {
		return "[]"
	}
	return text(v)
}

// Origin says where a value came from.
type Origin string

// The origins, in rising precedence.
const (
	FromDefault Origin = "default"
	FromFile    Origin = "file"
	FromEnv     Origin = "env"
	FromFlag    Origin = "flag"
)

// Value is the value in force of one key.
type Value struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // secrets are masked
	Origin Origin `json:"origin"`
}

// Values lists the values in force with secrets masked, in the order of [Leaves].
func (c *Config) Values() []Value {
	return c.values(nil, rootFields(), "", reflect.ValueOf(c).Elem())
}

func (c *Config) values(out []Value, fields []field, prefix string, section reflect.Value) []Value {
	for _, f := range fields {
		v, key := fieldNamed(section, f.name), prefix+f.name
		switch {
		case f.isSection():
			out = c.values(out, f.fields, key+".", v)
		case f.isObjects():
			for i := range v.Len() {
				out = c.values(out, f.fields, key+"["+strconv.Itoa(i)+"].", v.Index(i))
			}
			if v.Len() == 0 {
				out = append(out, Value{key, "[]", c.origin(key)})
			}
		default:
			out = append(out, Value{key, text(v), c.origin(key)})
		}
	}
	return out
}

func (c *Config) origin(key string) Origin {
	if o, ok := c.origins[key]; ok {
		return o
	}
	return FromDefault
}

func fieldNamed(section reflect.Value, name string) reflect.Value {
	for i := range section.NumField() {
		if section.Type().Field(i).Tag.Get("mapstructure") == name {
			return section.Field(i)
		}
	}
	panic("config: no field " + name)
}

// text prints a value as it is written in the file; [redact.Secret] masks itself.
func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return shortDuration(x)
	case []string:
		return strings.Join(x, ",")
	}
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(parts, ",")
}

// shortDuration leaves out the zero units that [time.Duration.String] adds: 840h, not 840h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarkdownTable is the documentation of every key, for the README.
func MarkdownTable() string {
	var b strings.Builder
	b.WriteString("| key | environment | type | default | meaning |\n|---|---|---|---|---|\n")
	for _, l := range Leaves() {
		env := code(l.Env)
		if l.Alias != "" {
			env += " or " + code(l.Alias)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n",
			code(l.Key), env, l.Type, code(l.Default), strings.ReplaceAll(l.Description, "|", `\|`))
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
