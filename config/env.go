package config

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	fileEnv      = "USHER_CONFIG"
	endpointsKey = "endpoints"
)

// otherEnv are variables of ours that are no configuration.
var otherEnv = []string{fileEnv, "USHER_DEV_ADDR", "USHER_REQUIRE_EMULATORS"}

// serviceLink matches what Kubernetes puts into every container of a namespace that has a Service called
// usher or usher-something, but for USHER_PORT, which only its value tells from a mistake.
var serviceLink = regexp.MustCompile(
	`^USHER(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// endpointSecrets matches what looks like [Endpoint.SecretsEnv].
var endpointSecrets = regexp.MustCompile(`^USHER_ENDPOINTS_([A-Z0-9_]{1,64})_SECRETS$`)

// environ is the environment by name.
func environ(list []string) map[string]string {
	out := make(map[string]string, len(list))
	for _, kv := range list {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" { // Windows has nameless ones
			out[name] = value
		}
	}
	return out
}

// unknownEnv reports USHER_* variables that set nothing, as they are most likely misspelt.
func unknownEnv(env map[string]string, endpoints []Endpoint) []error {
	known := slices.Clone(otherEnv)
	for _, f := range leaves(rootFields()) {
		known = append(known, envName(f.key))
	}
	for i := range endpoints {
		known = append(known, endpoints[i].SecretsEnv())
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch {
		case !strings.HasPrefix(name, "USHER_"), strings.HasPrefix(name, "USHER_TEST_"),
			slices.Contains(known, name), isServiceLink(name, env[name]):
			continue
		}
		text := "unknown variable"
		near := nearestEnv(name, known)
		if m := endpointSecrets.FindStringSubmatch(name); m != nil {
			text = "no endpoint named " + strings.ToLower(strings.ReplaceAll(m[1], "_", "-"))
			if len(endpoints) == 0 && near == "" {
				text += "; is USHER_CONFIG set?"
			}
		}
		if near != "" {
			text += ", did you mean " + near + "?"
		}
		errs = append(errs, errors.New(printable(name)+": "+text))
	}
	return errs
}

// nearestEnv also finds the variable whose section was left out.
func nearestEnv(name string, known []string) string {
	i := slices.IndexFunc(known, func(k string) bool {
		return strings.HasSuffix(k, strings.TrimPrefix(name, "USHER"))
	})
	if i >= 0 {
		return known[i]
	}
	return nearest(name, known)
}

// nearest is the known name that the name is most likely a misspelling of, or "".
func nearest(name string, known []string) string {
	if len(name) > 128 {
		return ""
	}
	best, least := "", 1+max(2, len(name)/4) // a quarter of the letters may be wrong
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
