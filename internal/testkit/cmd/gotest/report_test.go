package main

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		events    []string
		want      string
		wantSkips int
	}{
		{
			name: "passed",
			events: []string{
				`{"Action":"start","Package":"p"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: noise\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Output":"PASS\n"}`,
				`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			want: "ok  \tp\t0.1s\n",
		},
		{
			name: "failed",
			events: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: got 1\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Output":"FAIL\n"}`,
				`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: "    a_test.go:1: got 1\n--- FAIL: TestA (0.00s)\nFAIL\nFAIL\tp\t0.1s\n",
		},
		{
			name: "panicked while another package passed",
			events: []string{
				`{"Action":"output","Package":"q","Test":"TestB","Output":"quiet\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}`,
				`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`,
				`{"Action":"fail","Package":"p"}`,
				`{"Action":"pass","Package":"q","Test":"TestB"}`,
				`{"Action":"output","Package":"q","Output":"ok  \tq\t0.1s\n"}`,
			},
			want: "panic: boom\nFAIL\tp\t0.1s\nok  \tq\t0.1s\n",
		},
		{
			name: "does not build",
			events: []string{
				`{"ImportPath":"p","Action":"build-output","Output":"p/a.go:1:1: syntax error\n"}`,
				`{"ImportPath":"p","Action":"build-fail"}`,
				`{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}`,
				`go: a line that is no event`,
			},
			want: "p/a.go:1:1: syntax error\nFAIL\tp [build failed]\ngo: a line that is no event\n",
		},
		{
			name: "skipped",
			events: []string{
				`{"Action":"output","Package":"q","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}`,
				`{"Action":"skip","Package":"q","Test":"TestB"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: HOST is not set: no emulator\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}`,
				`{"Action":"skip","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"r","Output":"?   \tr\t[no test files]\n"}`,
				`{"Action":"skip","Package":"r"}`,
			},
			want:      "\nskipped 2 tests:\n  p TestA: HOST is not set: no emulator\n  q TestB: no reason given\n",
			wantSkips: 2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(strings.Join(tt.events, "\n") + "\n")); err != nil {
				t.Fatal(err)
			}
			skips := r.summary()
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if skips != tt.wantSkips {
				t.Errorf("skips = %d; want %d", skips, tt.wantSkips)
			}
		})
	}
}

func TestReportReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("pipe broken")
	if err := newReport(&strings.Builder{}).read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error = %v; want %v", err, broken)
	}
}
