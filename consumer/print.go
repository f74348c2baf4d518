package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// show prints v as JSON, or what rows writes as a table.
func (c *cli) show(v any, rows func(t *table)) error {
	if c.output == "json" {
		return printJSON(c.stdout, v)
	}
	return printTable(c.stdout, rows)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func printTable(w io.Writer, rows func(t *table)) error {
	var b bytes.Buffer
	t := &table{tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)}
	rows(t)
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil { // an empty last cell is padded
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// table aligns cells in columns.
type table struct{ w *tabwriter.Writer }

func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = cell(c)
	}
	fmt.Fprintln(t.w, strings.Join(text, "\t"))
}

// pair writes a row unless its value is empty.
func (t *table) pair(name string, value any) {
	if cell(value) != "" {
		t.row(name, value)
	}
}

// cell is a value in one line. Much of what is printed comes from vendors, so nothing in it may steer the
// terminal.
func cell(v any) string {
	var s string
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return ""
		}
		s = v.UTC().Format(time.RFC3339)
	case []string:
		s = strings.Join(v, ", ")
	default:
		s = fmt.Sprint(v)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}
