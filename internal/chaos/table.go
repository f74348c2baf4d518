package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/usherhq/usher/internal/fault"
	"github.com/usherhq/usher/internal/testkit/books"
)

// row is what came out of one scenario.
type row struct {
	Scenario string         `json:"scenario"`
	Faults   map[string]int `json:"faults"` // injected, by name
	Messages int            `json:"messages"`
	books.Report
	Poison      int      `json:"poison"`
	Redelivered int      `json:"redelivered"` // deliveries of a message that had been delivered before
	Seconds     float64  `json:"seconds"`
	Notes       []string `json:"notes,omitempty"`
	Error       string   `json:"error,omitempty"` // what kept the scenario from finishing, or broke its own conditions
}

// survived reports whether the books balance and the scenario finished.
func (r *row) survived() bool { return r.Error == "" && r.Messages > 0 && r.Balanced() }

// injected adds the counts of a layer of faults.
func (r *row) injected(counts map[fault.Kind]int) {
	for k, n := range counts {
		r.inject(string(k), n)
	}
}

func (r *row) inject(name string, n int) {
	if n == 0 {
		return
	}
	if r.Faults == nil {
		r.Faults = map[string]int{}
	}
	r.Faults[name] += n
}

func (r *row) faults() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		out = append(out, fmt.Sprintf("%d %s", r.Faults[k], strings.ReplaceAll(k, "_", " ")))
	}
	return strings.Join(out, ", ")
}

func printTable(w io.Writer, rows []row) error {
	var b strings.Builder
	b.WriteString("| scenario | survived | faults injected | messages | distinct | stored | lost | duplicated | counters | first match " +
		"| dead letters | redelivered | seconds |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %d | %d | %s | %s | %d of %d | %d | %.0f |\n",
			r.Scenario, yes(r.survived()), r.faults(), r.Messages, r.Distinct, r.Stored, r.Lost, r.Duplicated,
			yes(r.Counters), yes(r.FirstMatch), r.Letters, r.Poison, r.Redelivered, r.Seconds)
	}
	for i := range rows {
		r := &rows[i]
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "\n%s: %s", r.Scenario, n)
		}
		if r.Error != "" {
			fmt.Fprintf(&b, "\n%s: FAILED: %s", r.Scenario, r.Error)
		}
		for _, d := range r.Deviations {
			fmt.Fprintf(&b, "\n%s: FAILED: %s", r.Scenario, d)
		}
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}
