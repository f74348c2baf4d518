package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

func (c *cli) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration",
		Long: `Check the configuration: file, environment and endpoints, without contacting anything. Every problem is
printed at once; warnings are no problem.`,
		Example: "  usher config check --config usher.yaml",
		Args:    want(),
		RunE:    func(*cobra.Command, []string) error { return c.checkConfig() },
	}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the values in force and where each comes from",
		Long:    "List every key with the value in force and its origin: default, file, env or flag. Secrets are masked.",
		Example: "  usher config list\n  usher config list -o json",
		Args:    want(),
		RunE:    func(*cobra.Command, []string) error { return c.listConfig() },
	}
	schema := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file",
		Long:    "Print the JSON Schema of the configuration file, for editors.",
		Example: "  usher config schema > usher.schema.json",
		Args:    want(),
		RunE: func(*cobra.Command, []string) error {
			b, err := config.JSONSchema()
			if err != nil {
				return fmt.Errorf("schema: %w", err)
			}
			fmt.Fprintf(c.stdout, "%s", b)
			return nil
		},
	}
	return group("config", "Check and list the configuration", "Check and list the configuration.", check, list, schema)
}

func (c *cli) checkConfig() error {
	o := c.configOptions(nil)
	o.CheckEndpoint = app.CheckEndpoint
	cfg, err := load(o)
	if err != nil {
		return err
	}
	v := struct {
		Valid    bool     `json:"valid"`
		Warnings []string `json:"warnings"`
	}{true, append([]string{}, cfg.Warnings()...)}
	return c.show(v, func(t *table) {
		for _, w := range v.Warnings {
			t.row("warning: " + w)
		}
		t.row("The configuration is valid.")
	})
}

func (c *cli) listConfig() error {
	cfg, err := c.config(nil)
	if err != nil {
		return err
	}
	values := cfg.Values()
	return c.show(values, func(t *table) {
		t.row("KEY", "VALUE", "ORIGIN")
		for _, v := range values {
			t.row(v.Key, v.Value, v.Origin)
		}
	})
}
