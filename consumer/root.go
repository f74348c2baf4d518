package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

// cli is what the commands share.
type cli struct {
	program        string   // as it was invoked, for hints that can be pasted
	env            []string // in the form of os.Environ
	stdout, stderr io.Writer

	configFile, output, logLevel, logFormat string
}

// run executes one command line, without the program's name.
func (c *cli) run(ctx context.Context, args []string) error {
	root := c.rootCommand()
	root.SetArgs(args)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	return root.ExecuteContext(ctx)
}

func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "usher",
		Short: "Multi-tenant webhooks of visitor identification: receive, process, store, meter",
		Long: `usher takes "we identified a visitor" webhooks, finds the tenant each belongs to, and stores and meters
it for that tenant alone. Without a command it is the daemon: usher run.`,
		Example:       "  usher dev                  # everything on this machine\n  usher run                  # the daemon",
		Args:          noSuchCommand,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          c.runDaemon,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.output != "table" && c.output != "json" {
				return usagef("--output: want table or json")
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&c.configFile, "config", "", "configuration `FILE` (default: what USHER_CONFIG names)")
	f.StringVarP(&c.output, "output", "o", "table", "print a `FORMAT`: table or json")
	f.StringVar(&c.logLevel, "log-level", "", "`LEVEL` of logs: debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", "", "`FORMAT` of logs: json or text")
	root.AddCommand(
		c.runCommand(), c.serveCommand(), c.devCommand(), c.sendCommand(), c.simulateCommand(),
		c.tenantCommand(), c.usageCommand(), c.visitorCommand(), c.deadletterCommand(), c.processorCommand(),
		c.configCommand(), c.versionCommand(),
	)
	return root
}

// usageError marks a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// want accepts exactly the named arguments.
func want(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		what := "no argument"
		if len(names) > 0 {
			what = strings.Join(names, " ")
		}
		return usagef("%s: want %s, got %d; see %[1]s --help", cmd.CommandPath(), what, len(args))
	}
}

// noSuchCommand refuses arguments of a command that has only commands below it.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("%s; see %s --help", text, cmd.CommandPath())
}

// group is a command that has only commands below it.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: noSuchCommand}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		return usagef("%s: want one of %s; see %[1]s --help", cmd.CommandPath(), strings.Join(names, ", "))
	}
	var examples []string
	for _, sub := range commands {
		examples = append(examples, sub.Example)
	}
	cmd.Example = strings.Join(examples, "\n")
	cmd.AddCommand(commands...)
	return cmd
}

func (c *cli) getenv(name string) string {
	value := ""
	for _, kv := range c.env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// config loads the configuration; more are values by key that beat everything else.
func (c *cli) config(more map[string]any) (*config.Config, error) { return load(c.configOptions(more)) }

func (c *cli) configOptions(more map[string]any) config.Options {
	overrides := map[string]any{}
	for k, v := range more {
		overrides[k] = v
	}
	if c.logLevel != "" {
		overrides["log.level"] = c.logLevel
	}
	if c.logFormat != "" {
		overrides["log.format"] = c.logFormat
	}
	return config.Options{File: c.configFile, Env: c.env, Overrides: overrides}
}

func load(o config.Options) (*config.Config, error) {
	cfg, err := config.Load(o)
	if err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return cfg, nil
}

// operate gives do what operator commands work with.
func (c *cli) operate(ctx context.Context, do func(*config.Config, *app.Operator) error) error {
	cfg, err := c.config(nil)
	if err != nil {
		return err
	}
	op, err := app.OpenOperator(ctx, cfg, c.getenv(devAddrEnv))
	if err != nil {
		return err
	}
	return errors.Join(do(cfg, op), op.Close())
}

// devAddrEnv names the running `usher dev` that commands work with.
const devAddrEnv = "USHER_DEV_ADDR"
