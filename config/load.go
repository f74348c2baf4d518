package config

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

//go:embed default.yaml
var defaultYAML []byte

// Options say where configuration comes from besides the defaults.
type Options struct {
	// File is the configuration file; without it the environment's USHER_CONFIG names one, or there is none.
	File string
	// Env is the environment in the form of os.Environ.
	Env []string
	// Overrides are values by key, such as "log.level"; they come from flags and beat everything else.
	Overrides map[string]any
	// CheckEndpoint finds more problems of the endpoint at place i that has none so far; nil for no check.
	CheckEndpoint func(i int, e *Endpoint) error
}

// Load reads and validates the configuration. Flags beat the environment, USHER_* variables beat the
// conventional ones, the environment beats the file, and the file beats the defaults. The error joins every
// problem, unknown keys and unknown USHER_* variables included, and quotes no value.
func Load(opts Options) (*Config, error) {
	env := environ(opts.Env)
	file := opts.File
	if file == "" {
		file = env[fileEnv]
	}
	l := loader{viper: viper.New(), origins: map[string]Origin{}}
	l.setAll(defaults(), FromDefault)
	if err := l.file(file); err != nil {
		return nil, err
	}
	l.env(env)
	l.overrides(opts.Overrides)
	cfg, err := l.decode()
	if err != nil {
		return nil, err
	}
	l.errs = append(l.errs, cfg.resolveSecrets(env, l.dir))
	l.errs = append(l.errs, unknownEnv(env, cfg.Endpoints)...)
	l.errs = append(l.errs, cfg.Validate(), cfg.checkEndpoints(opts.CheckEndpoint))
	if err := errors.Join(l.errs...); err != nil {
		return nil, err
	}
	return cfg, nil
}

// defaults are the values of default.yaml by key. A test holds the file to be well formed and complete.
var defaults = sync.OnceValue(func() map[string]any {
	var r reader
	doc, err := parseYAML(defaultYAML)
	out := map[string]any{}
	r.section(rootFields(), "", doc, func(f *field, v any) { out[f.key] = v })
	if err := errors.Join(append(r.errs, err)...); err != nil {
		panic("config: default.yaml: " + err.Error())
	}
	return out
})

// loader lays the sources over one another.
type loader struct {
	viper   *viper.Viper
	origins map[string]Origin
	dir     string // what a relative path in the endpoints is relative to
	errs    []error
}

func (l *loader) setAll(values map[string]any, from Origin) {
	for key, v := range values {
		l.set(key, v, from)
	}
}

func (l *loader) set(key string, v any, from Origin) {
	l.viper.Set(key, v)
	if key == endpointsKey { // a list replaces the one below, with all that was said about it
		maps.DeleteFunc(l.origins, func(k string, _ Origin) bool { return strings.HasPrefix(k, endpointsKey) })
	}
	if from != FromDefault {
		l.origins[key] = from
	}
}

// document lays a whole document over what is there.
func (l *loader) document(r *reader, doc any, from Origin) {
	r.section(rootFields(), "", doc, func(f *field, v any) { l.set(f.key, v, from) })
	for _, key := range r.keys {
		l.origins[key] = from
	}
	l.errs = append(l.errs, r.errs...)
}

func (l *loader) file(path string) error {
	if path == "" {
		return nil
	}
	b, err := readFile(path)
	if err != nil {
		return err
	}
	doc, err := parseYAML(b)
	if err != nil {
		return fmt.Errorf("read configuration %s: %w", path, err)
	}
	l.dir = filepath.Dir(path)
	l.document(&reader{}, doc, FromFile)
	return nil
}

func (l *loader) env(env map[string]string) {
	for _, f := range leaves(rootFields()) {
		name := envName(f.key)
		if env[name] == "" {
			name = f.tag.Get("alias")
		}
		text := env[name]
		switch {
		case text == "": // an empty variable is as good as none
		case f.isList():
			l.envList(&f, name, text)
		default:
			v, want := parseText(&f, text)
			if want != "" {
				l.errs = append(l.errs, problemEnv(f.key, name, "want "+want))
				continue
			}
			l.set(f.key, v, FromEnv)
		}
	}
}

// envList reads a list that a variable holds as YAML, of which JSON is a part.
func (l *loader) envList(f *field, name, text string) {
	doc, err := parseYAML([]byte(text))
	if err != nil {
		l.errs = append(l.errs, problemEnv(f.key, name, err.Error()))
		return
	}
	l.dir = ""
	l.document(&reader{env: name}, map[string]any{f.key: doc}, FromEnv)
}

func (l *loader) overrides(values map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		v, f := values[key], rootLeaf(key)
		if f == nil {
			l.errs = append(l.errs, unknownKey("", key, slices.Sorted(maps.Keys(defaults()))))
			continue
		}
		var r reader
		var ok bool
		if text, isText := v.(string); isText && !f.isList() {
			var want string
			if v, want = parseText(f, text); want != "" {
				r.problem(key, "want "+want)
			}
			ok = want == ""
		} else {
			v, ok = r.leaf(f, key, v)
		}
		if ok {
			l.set(key, v, FromFlag)
		}
		for _, k := range r.keys {
			l.origins[k] = FromFlag
		}
		l.errs = append(l.errs, r.errs...)
	}
}

func (l *loader) decode() (*Config, error) {
	cfg := &Config{origins: l.origins}
	exact := func(c *mapstructure.DecoderConfig) { c.ErrorUnused, c.WeaklyTypedInput = true, false }
	if err := l.viper.Unmarshal(cfg, exact); err != nil {
		// Not wrapped: the values are typed by now, and the library's errors quote them.
		return nil, errors.New("decode configuration: a value has another type than its field")
	}
	return cfg, nil
}

// resolveSecrets takes the endpoints' secrets from the environment and from files.
func (c *Config) resolveSecrets(env map[string]string, dir string) error {
	var errs []error
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		key := endpointKey(i, "auth.secrets")
		switch text := env[e.SecretsEnv()]; {
		case text != "":
			e.Auth.Secrets = secrets(splitTrim(text, ","))
			c.origins[key] = FromEnv
		case e.Auth.SecretsFile == "":
		case len(e.Auth.Secrets) > 0:
			errs = append(errs, problem(key+"_file", "set this or auth.secrets, not both"))
		default:
			path := e.Auth.SecretsFile
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			b, err := readFile(path)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s_file (%s): %w", key, e.SecretsEnv(), err))
				continue
			}
			e.Auth.Secrets = secrets(splitTrim(string(b), "\n"))
			c.origins[key] = c.origins[key+"_file"]
		}
	}
	return errors.Join(errs...)
}

// splitTrim splits and drops what is blank.
func splitTrim(s, sep string) []string {
	parts := strings.Split(s, sep)
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return slices.DeleteFunc(parts, func(p string) bool { return p == "" })
}
