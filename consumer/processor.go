package main

import (
	"github.com/spf13/cobra"

	"github.com/usherhq/usher/internal/app"
)

func (c *cli) processorCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the processors of this build with their settings",
		Long:    "List the processors that tenants can have in their chain, with the settings of each.",
		Example: "  usher processor list\n  usher processor list -o json",
		Args:    want(),
		RunE:    func(*cobra.Command, []string) error { return c.listProcessors() },
	}
	return group("processor", "Show what tenants can have done to their events",
		"Show the processors: what tenants can have done to each event.", list)
}

func (c *cli) listProcessors() error {
	r, err := app.NewRegistry()
	if err != nil {
		return err
	}
	regs := r.Registrations()
	return c.show(regs, func(t *table) {
		t.row("PROCESSOR", "SETTING", "TYPE", "DEFAULT", "DESCRIPTION")
		for _, p := range regs {
			t.row(p.Name+" "+p.Version, "", "", "", p.Description)
			for _, s := range p.Settings {
				def := any("-")
				switch {
				case s.Required:
					def = "required"
				case s.Default != nil:
					def = s.Default
				}
				t.row("", s.ID, s.Type, def, s.Description)
			}
		}
	})
}
