package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// report is what a mode measured.
type report struct {
	Mode    string   `json:"mode"`
	Setting string   `json:"setting"` // what was done
	Tables  []table  `json:"-"`
	Targets []target `json:"targets"`
	Notes   []string `json:"notes,omitempty"`
	Runs    any      `json:"runs"` // every single measurement
}

// table is printed as Markdown, so that it can be copied into the documents.
type table struct {
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// target is a figure that usher must reach.
type target struct {
	What     string  `json:"what"`
	Got      float64 `json:"got"`
	Required float64 `json:"required"`
	Aim      float64 `json:"aim,omitempty"` // better than required; 0 for none
	AtLeast  bool    `json:"at_least,omitempty"`
	Met      bool    `json:"met"`
}

func atMost(what string, got, required, aim float64) target {
	return target{What: what, Got: got, Required: required, Aim: aim, Met: got <= required}
}

func atLeast(what string, got, required, aim float64) target {
	return target{What: what, Got: got, Required: required, Aim: aim, AtLeast: true, Met: got >= required}
}

func (t *target) verdict() string {
	switch {
	case !t.Met:
		return "**missed**"
	case t.Aim == 0:
		return "met"
	case t.AtLeast && t.Got >= t.Aim, !t.AtLeast && t.Got <= t.Aim:
		return "met, and the aim"
	}
	return "met, not the aim"
}

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s: %s\n", r.Mode, r.Setting)
	for i := range r.Tables {
		fmt.Fprintln(w)
		r.Tables[i].print(w)
	}
	if len(r.Targets) > 0 {
		verdicts := table{columns: []string{"target", "required", "aim", "measured", "verdict"}}
		for i := range r.Targets {
			t := &r.Targets[i]
			sign, aim := "at most ", "-"
			if t.AtLeast {
				sign = "at least "
			}
			if t.Aim != 0 {
				aim = figure(t.Aim)
			}
			verdicts.add(t.What, sign+figure(t.Required), aim, figure(t.Got), t.verdict())
		}
		fmt.Fprintln(w)
		verdicts.print(w)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "\n%s\n", n)
	}
	return nil
}

func (t *table) print(w io.Writer) {
	width := make([]int, len(t.columns))
	for _, row := range append([][]string{t.columns}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	line := func(cells []string, pad string) {
		for i, c := range cells {
			fmt.Fprintf(w, "|%s%s%s%s", pad, c, strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)), pad)
		}
		fmt.Fprintln(w, "|")
	}
	line(t.columns, " ")
	rule := make([]string, len(width))
	for i := range width {
		rule[i] = strings.Repeat("-", width[i])
	}
	line(rule, "-")
	for _, row := range t.rows {
		line(row, " ")
	}
}

// figure has about three digits that matter.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

// median is the middle one of the figures, 0 of none; of an even number it is the higher of the two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// medianOf is the median of what f says of each.
func medianOf[T any](all []T, f func(T) float64) float64 {
	v := make([]float64, len(all))
	for i, a := range all {
		v[i] = f(a)
	}
	return median(v)
}

// percentile is the smallest figure that at least the share p of all, sorted, does not exceed.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
