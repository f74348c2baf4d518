package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// profile is what a CPU profile shows, in percent of all CPU time.
type profile struct {
	functions []profiled // ours, the largest first
	twins     float64    // of the memory twins
	outside   float64    // with nothing of ours on the stack: garbage collection, scheduling
	gc        float64    // garbage collection, in the background and where we allocate
}

// profiled is one function of ours.
type profiled struct {
	name string
	own  float64 // itself and the libraries that it calls, without further functions of ours
	all  float64 // with everything that it calls
}

// ours begins the names of this module's functions.
const ours = "github.com/usherhq/usher/"

// readProfile has the Go tool read a CPU profile.
func readProfile(ctx context.Context, file string) (*profile, error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", file).Output() //nolint:gosec // the file is the caller's
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return parseTraces(out)
}

var errTraces = errors.New("read profile: not what go tool pprof -traces prints")

// parseTraces reads the samples that `pprof -traces` prints: a rule, then the time and the innermost function, then
// its callers.
func parseTraces(out []byte) (*profile, error) {
	byName := map[string]*profiled{}
	var p profile
	var total, value float64
	var stack []string
	flush := func() {
		total += value
		p.add(byName, stack, value)
		stack, value = stack[:0], 0
	}
	begun := false
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSuffix(strings.TrimSpace(lines.Text()), " (inline)")
		switch {
		case strings.HasPrefix(line, "-----------+"):
			flush()
			begun = true
		case !begun || line == "":
		case len(stack) == 0 && value == 0:
			first, rest, _ := strings.Cut(line, " ")
			d, err := time.ParseDuration(strings.Replace(first, "mins", "m", 1))
			if err != nil {
				return nil, errTraces
			}
			value, stack = d.Seconds(), append(stack, strings.TrimSpace(rest))
		default:
			stack = append(stack, line)
		}
	}
	flush()
	if lines.Err() != nil || total == 0 {
		return nil, errTraces
	}
	p.finish(byName, total)
	return &p, nil
}

// add counts one sample.
func (p *profile) add(byName map[string]*profiled, stack []string, value float64) {
	seen := map[string]bool{}
	innermost := true
	if slices.ContainsFunc(stack, collects) {
		p.gc += value
	}
	for _, name := range stack {
		name, mine := strings.CutPrefix(name, ours)
		if !mine || seen[name] {
			continue
		}
		seen[name] = true
		f := byName[name]
		if f == nil {
			f = &profiled{name: name}
			byName[name] = f
		}
		f.all += value
		if innermost {
			f.own += value
			innermost = false
		}
	}
	if innermost {
		p.outside += value
	}
}

// collects reports whether a function of the runtime collects garbage.
func collects(name string) bool {
	return name == "runtime.gcBgMarkWorker" || name == "runtime.gcAssistAlloc" || name == "runtime.bgsweep"
}

// finish makes percents of seconds and puts the twins, and this program, apart: in production something else is in
// their place.
func (p *profile) finish(byName map[string]*profiled, total float64) {
	p.outside *= 100 / total
	p.gc *= 100 / total
	for _, f := range byName {
		f.own *= 100 / total
		f.all *= 100 / total
		switch pkg, _, _ := strings.Cut(f.name, "."); pkg {
		case "internal/queue/memqueue", "internal/store/memstore":
			p.twins += f.own
			delete(byName, f.name)
		case "internal/bench":
			delete(byName, f.name)
		}
	}
	for _, f := range byName {
		p.functions = append(p.functions, *f)
	}
	slices.SortFunc(p.functions, func(a, b profiled) int {
		return cmp.Or(cmp.Compare(b.own, a.own), cmp.Compare(a.name, b.name))
	})
}
