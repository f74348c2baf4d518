package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version of this binary, and of the event schema that it writes.",
		Example: "  usher version\n  usher version -o json",
		Args:    want(),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Schema  string `json:"schema"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{app.Version(), visitor.Schema, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return c.show(v, func(t *table) {
				t.row("usher " + v.Version + ", event schema " + v.Schema + ", " + v.Go + " " + v.OS + "/" + v.Arch)
			})
		},
	}
}
