package emulator

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, line string
		want       process
		wantGroup  int
		wantOK     bool
	}{
		{
			name: "name with spaces and parentheses", line: "42 (a ) S b) R 1 77 77 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 9 9 9",
			want: process{state: "R", cpu: 3 * time.Second}, wantGroup: 77, wantOK: true,
		},
		{name: "short", line: "42 (java) S 1 77"},
		{name: "empty"},
		{name: "not a number", line: "42 (java) S 1 x 77 0 -1 0 0 0 0 0 250 50 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, group, ok := parseStat([]byte(tt.line))
			if got != tt.want || group != tt.wantGroup || ok != tt.wantOK {
				t.Errorf("parseStat = %+v, %d, %t; want %+v, %d, %t", got, group, ok, tt.want, tt.wantGroup, tt.wantOK)
			}
		})
	}
}
