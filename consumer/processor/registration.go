package processor

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
)

// Registration is a processor's self-description, shown to operators and used to check settings.
type Registration struct {
	Name        string    `json:"name"`    // how a tenant's chain refers to it
	Version     string    `json:"version"` // semantic version
	Title       string    `json:"title"`
	Description string    `json:"description"`
	Settings    []Setting `json:"settings,omitempty"`
	// Pure says that handlers compute and wait for nothing, neither I/O nor others. They are called without the
	// goroutine and the timeout by which a tenant's other events are kept safe from a handler that hangs.
	Pure bool `json:"pure,omitempty"`
}

// SettingType is the type of a setting's value.
type SettingType string

// The types of settings.
const (
	Text    SettingType = "text"
	Integer SettingType = "integer"
	Boolean SettingType = "boolean"
	List    SettingType = "list" // of objects; the processor checks what is inside
)

// Setting describes one setting of a processor.
type Setting struct {
	ID          string      `json:"id"`
	Type        SettingType `json:"type"`
	Description string      `json:"description"`
	Required    bool        `json:"required,omitempty"`
	Default     any         `json:"default,omitempty"`
	OneOf       []string    `json:"one_of,omitempty"` // for text
}

// Settings are one tenant's values for a processor, by setting id.
type Settings map[string]any

// Text returns a text setting, "" when unset.
func (s Settings) Text(id string) string { v, _ := s[id].(string); return v }

// Integer returns an integer setting, 0 when unset.
func (s Settings) Integer(id string) int64 { v, _ := s[id].(int64); return v }

// Boolean returns a boolean setting, false when unset.
func (s Settings) Boolean(id string) bool { v, _ := s[id].(bool); return v }

// List returns a list setting, nil when unset.
func (s Settings) List(id string) []map[string]any { v, _ := s[id].([]map[string]any); return v }

var nameRE = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// ValidName reports whether s can name a processor, a setting, a score or a counter.
func ValidName(s string) bool { return nameRE.MatchString(s) }

// Validate reports everything that is wrong with the description itself.
func (r Registration) Validate() error {
	var errs []error
	if !ValidName(r.Name) {
		errs = append(errs, errors.New("name: want a lower-case letter, then letters, digits and '_'"))
	}
	for what, v := range map[string]string{"version": r.Version, "title": r.Title, "description": r.Description} {
		if v == "" {
			errs = append(errs, fmt.Errorf("%s: missing", what))
		}
	}
	seen := map[string]bool{}
	for _, s := range r.Settings {
		if !ValidName(s.ID) || seen[s.ID] {
			errs = append(errs, fmt.Errorf("settings.%s: bad or repeated id", s.ID))
		}
		seen[s.ID] = true
		if !slices.Contains([]SettingType{Text, Integer, Boolean, List}, s.Type) {
			errs = append(errs, fmt.Errorf("settings.%s: unknown type", s.ID))
			continue
		}
		if s.Default != nil {
			if _, err := s.convert(s.Default); err != nil {
				errs = append(errs, fmt.Errorf("settings.%s: default: %w", s.ID, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Check converts given values to the registered types and fills in defaults. It reports every problem at
// once: unknown settings, wrong types, missing required ones. Values are not quoted.
func (r Registration) Check(given map[string]any) (Settings, error) {
	out := Settings{}
	var errs []error
	left := maps.Clone(given)
	for _, s := range r.Settings {
		v, ok := given[s.ID]
		delete(left, s.ID)
		if !ok || v == nil {
			v = s.Default
		}
		if v == nil {
			if s.Required {
				errs = append(errs, fmt.Errorf("settings.%s: required", s.ID))
			}
			continue
		}
		c, err := s.convert(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("settings.%s: %w", s.ID, err))
			continue
		}
		out[s.ID] = c
	}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		errs = append(errs, fmt.Errorf("settings.%s: unknown setting", id))
	}
	return out, errors.Join(errs...)
}

// convert accepts what JSON, YAML and Firestore decode a value of this type to.
func (s Setting) convert(v any) (any, error) {
	switch s.Type {
	case Text:
		t, ok := v.(string)
		if !ok {
			break
		}
		if len(s.OneOf) > 0 && !slices.Contains(s.OneOf, t) {
			return nil, fmt.Errorf("want one of %q", s.OneOf)
		}
		return t, nil
	case Integer:
		switch n := v.(type) {
		case int:
			return int64(n), nil
		case int64:
			return n, nil
		case float64:
			if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
				return int64(n), nil
			}
		}
	case Boolean:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case List:
		return toList(v)
	}
	return nil, fmt.Errorf("want %s", s.Type)
}

func toList(v any) (any, error) {
	if l, ok := v.([]map[string]any); ok {
		return l, nil
	}
	in, ok := v.([]any)
	if !ok {
		return nil, errors.New("want list")
	}
	out := make([]map[string]any, len(in))
	for i, e := range in {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("item %d: want object", i)
		}
		out[i] = m
	}
	return out, nil
}
