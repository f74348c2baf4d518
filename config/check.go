package config

import (
	"errors"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// problem is an error about a key; it names the environment variable that sets it and quotes no value.
func problem(key, text string) error { return problemEnv(key, envName(key), text) }

func problemEnv(key, env, text string) error {
	if env == "" {
		env = envName(key)
	}
	return errors.New(key + " (" + env + "): " + text)
}

// check holds a section to its tags: required, enum, min and max with the reason why, and format.
func check(prefix string, section any) error {
	var errs []error
	v := reflect.ValueOf(section).Elem()
	if prefix != "" {
		prefix += "."
	}
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name := sf.Tag.Get("mapstructure")
		if !sf.IsExported() || name == "" {
			continue
		}
		f := field{name: name, key: prefix + name, typ: sf.Type, tag: sf.Tag}
		errs = append(errs, f.check(f.key, v.Field(i)))
	}
	return errors.Join(errs...)
}

func (f *field) check(key string, v reflect.Value) error {
	switch f.typ.Kind() {
	case reflect.String:
		return f.checkText(key, v.String())
	case reflect.Int, reflect.Int64, reflect.Float64:
		return f.checkRange(key, v)
	case reflect.Slice:
		if f.typ.Elem().Kind() != reflect.String {
			return nil
		}
		var errs []error
		for i := range v.Len() {
			errs = append(errs, f.checkText(key+"["+strconv.Itoa(i)+"]", v.Index(i).String()))
		}
		return errors.Join(errs...)
	default:
		return nil
	}
}

func (f *field) checkText(key, s string) error {
	if s == "" {
		if f.isList() || f.tag.Get("required") != "" {
			return problem(key, "required")
		}
		return nil
	}
	if enum := f.enum(); enum != nil {
		for _, e := range enum {
			if s == e {
				return nil
			}
		}
		return problem(key, "want "+orList(enum))
	}
	if fm, ok := formats[f.tag.Get("format")]; ok && !fm.valid(s) {
		return problem(key, "want "+fm.want)
	}
	return nil
}

func (f *field) checkRange(key string, v reflect.Value) error {
	lo, hi := f.tag.Get("min"), f.tag.Get("max")
	// Written so that NaN is out of range.
	if (lo == "" || number(v) >= f.bound(lo)) && (hi == "" || number(v) <= f.bound(hi)) {
		return nil
	}
	want := "want " + lo + " to " + hi
	if hi == "" {
		want = "want at least " + lo
	}
	if why := f.tag.Get("why"); why != "" {
		want += ": " + why
	}
	return problem(key, want)
}

func number(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// bound reads a min or max tag; a test reads them all, so that none is malformed.
func (f *field) bound(tag string) float64 {
	if f.typ == durationType {
		d, err := time.ParseDuration(tag)
		if err != nil {
			panic("config: bad bound of " + f.key)
		}
		return float64(d)
	}
	n, err := strconv.ParseFloat(tag, 64)
	if err != nil {
		panic("config: bad bound of " + f.key)
	}
	return n
}

func orList(s []string) string {
	return strings.Join(s[:len(s)-1], ", ") + " or " + s[len(s)-1]
}

// format is a rule for a text; the pattern also serves editors.
type format struct {
	pattern string
	want    string
	also    func(string) bool
	re      *regexp.Regexp
}

func (f format) valid(s string) bool { return f.re.MatchString(s) && (f.also == nil || f.also(s)) }

var formats = compile(map[string]format{
	"project": {
		pattern: `^[a-z][a-z0-9.-]*(:[a-z][a-z0-9-]*)?$`,
		want:    "a project id such as my-project",
		also:    func(s string) bool { return len(s) <= 100 },
	},
	"pubsub": {
		pattern: `^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`,
		want:    "a Pub/Sub name: 3 to 255 letters, digits or -._~+%, a letter first, not goog, no path",
		also:    func(s string) bool { return !strings.HasPrefix(strings.ToLower(s), "goog") },
	},
	"database": {
		pattern: `^(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$`,
		want:    "(default), or 4 to 63 lower-case letters, digits or hyphens, a letter first",
	},
	"address": {pattern: `^[^/\s]*:[0-9]+$`, want: "host:port", also: validAddress},
	"host":    {pattern: `^[A-Za-z0-9._:-]+$`, want: "a host name or an IP address"},
	"name":    {pattern: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, want: "1 to 63 lower-case letters, digits or inner hyphens"},
	"source":  {pattern: `^[a-z][a-z0-9_]{0,62}$`, want: "1 to 63 lower-case letters, digits or underscores, a letter first"},
	"tenant":  {pattern: `^[A-Za-z0-9_.:~-]{1,128}$`, want: "a tenant id: 1 to 128 letters, digits or _-.:~"},
	"header":  {pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", want: "a header's name"},
})

func compile(fs map[string]format) map[string]format {
	for name, f := range fs {
		f.re = regexp.MustCompile(f.pattern)
		fs[name] = f
	}
	return fs
}

func validAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}
