package main

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestCell(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   any
		want string
	}{
		{"text", "Anaïs 李", "Anaïs 李"},
		{"escape sequence", "a\x1b[2Jb", "a·[2Jb"},
		{"C1 control", "a\u009bb", "a·b"},
		{"line break and tab", "a\n\tb", "a··b"},
		{"bidirectional override", "a\u202eb", "a·b"},
		{"list", []string{"a", "b"}, "a, b"},
		{"time", time.Date(2026, 11, 1, 10, 0, 0, 0, time.FixedZone("", 3600)), "2026-11-01T09:00:00Z"},
		{"no time", time.Time{}, ""},
		{"number", 7, "7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := cell(tc.in); got != tc.want {
				t.Errorf("cell = %q, want %q", got, tc.want)
			}
		})
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken pipe")

func TestShowReportsABrokenOutput(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "json"} {
		c := &cli{stdout: brokenWriter{}, output: format}
		if err := c.show("x", func(t *table) { t.row("x") }); !errors.Is(err, errBroken) {
			t.Errorf("%s: error %v, want %v", format, err, errBroken)
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/v1?a=b&c=d", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-B", "2")
	req.Header.Set("X-A", "it's")
	want := `curl -X POST 'http://127.0.0.1/v1?a=b&c=d' \
  -H 'X-A: it'\''s' \
  -H 'X-B: 2' \
  -d '{"a":"it'\''s"}'
`
	if got := curl(req, []byte(`{"a":"it's"}`)); got != want {
		t.Errorf("curl =\n%s\nwant\n%s", got, want)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var plain, terminal bytes.Buffer
	p := newProgress(&plain, "sent", 20)
	q := &progress{w: &terminal, done: "sent", total: 2, terminal: true}
	for n := range 20 {
		p.at(n + 1)
	}
	q.at(1)
	q.at(2)
	p.end()
	q.end()
	if got, want := plain.String(), "2 sent\n4 sent\n6 sent\n8 sent\n10 sent\n12 sent\n14 sent\n16 sent\n18 sent\n20 sent\n"; got != want {
		t.Errorf("progress = %q, want %q", got, want)
	}
	if got, want := terminal.String(), "\r1 sent (50%)\r2 sent (100%)\n"; got != want {
		t.Errorf("progress on a terminal = %q, want %q", got, want)
	}
}
