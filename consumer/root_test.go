package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsExplainThemselves holds every command to a summary, a description and an example of itself.
func TestCommandsExplainThemselves(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Long == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s lacks a summary, a description or an example of itself", cmd.CommandPath())
		}
		if cmd.Args == nil {
			t.Errorf("%s takes any arguments", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&cli{}).rootCommand())
}

func TestGetenvTakesTheLast(t *testing.T) {
	t.Parallel()
	c := &cli{env: []string{"A=1", "AB=2", "A=3", "junk"}}
	for name, want := range map[string]string{"A": "3", "AB": "2", "B": "", "junk": ""} {
		if got := c.getenv(name); got != want {
			t.Errorf("getenv(%q) = %q, want %q", name, got, want)
		}
	}
}
