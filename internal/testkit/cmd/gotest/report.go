package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of go test -json: see "go doc test2json" and "go help buildjson".
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

type testName struct{ pkg, test string }

type skip struct {
	testName
	reason string
}

// report turns go test's events into its usual short output, and collects the skips.
type report struct {
	out   io.Writer
	held  map[testName][]string // output of tests that are not over, by test; of a package with test ""
	skips []skip
}

func newReport(out io.Writer) *report {
	return &report{out: out, held: map[testName][]string{}}
}

// read handles events until the end of the stream. Lines that are no events are passed on.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
}

func (r *report) line(line string) {
	var ev event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &ev) != nil {
		fmt.Fprint(r.out, line)
		return
	}
	name := testName{ev.Package, ev.Test}
	switch ev.Action {
	case "build-output":
		fmt.Fprint(r.out, ev.Output)
	case "output":
		r.output(name, ev.Output)
	case "pass":
		delete(r.held, name)
	case "skip":
		if ev.Test != "" {
			r.skips = append(r.skips, skip{name, reason(r.held[name])})
		}
		delete(r.held, name)
	case "fail":
		r.fail(name)
	}
}

// output prints a package's result at once and holds everything else until the test's result is known.
func (r *report) output(name testName, text string) {
	switch {
	case name.test == "" && (strings.HasPrefix(text, "ok  \t") || strings.HasPrefix(text, "FAIL\t")):
		if strings.HasPrefix(text, "FAIL") {
			r.failPackage(name.pkg)
		}
		fmt.Fprint(r.out, text)
	case strings.HasPrefix(text, "=== "), name.test == "" && strings.HasSuffix(text, "[no test files]\n"):
	default:
		r.held[name] = append(r.held[name], text)
	}
}

func (r *report) fail(name testName) {
	for _, text := range r.held[name] {
		fmt.Fprint(r.out, text)
	}
	delete(r.held, name)
}

// failPackage prints what is held of a failed package: the tests that a panic or the timeout cut off, then its own.
func (r *report) failPackage(pkg string) {
	names := slices.SortedFunc(maps.Keys(r.held), func(a, b testName) int { return -strings.Compare(a.test, b.test) })
	for _, name := range names {
		if name.pkg == pkg {
			r.fail(name)
		}
	}
}

// reason is what the test said last before it was skipped, without the place.
func reason(output []string) string {
	text := "no reason given"
	for _, line := range output {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "---") {
			text = line
		}
	}
	if _, after, ok := strings.Cut(text, ".go:"); ok {
		if _, said, ok := strings.Cut(after, ": "); ok {
			return said
		}
	}
	return text
}

// summary prints the skipped tests, if any, and returns how many there are.
func (r *report) summary() int {
	if len(r.skips) == 0 {
		return 0
	}
	slices.SortFunc(r.skips, func(a, b skip) int {
		return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test)
	})
	fmt.Fprintf(r.out, "\nskipped %d tests:\n", len(r.skips))
	for _, s := range r.skips {
		fmt.Fprintf(r.out, "  %s %s: %s\n", s.pkg, s.test, s.reason)
	}
	return len(r.skips)
}
