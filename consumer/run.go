package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

func (c *cli) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the daemon: receive events, process them, store them",
		Long: `Run the daemon. It receives from the subscription, has each tenant's processors work on its events, commits
to Firestore and only then acknowledges. It creates nothing in the cloud, serves /livez and /readyz on
consumer.health_addr, and drains within consumer.shutdown_grace after SIGTERM.

The project is that of GOOGLE_CLOUD_PROJECT; PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST choose emulators.`,
		Example: "  GOOGLE_CLOUD_PROJECT=my-project usher run\n  usher run --config usher.yaml --log-level debug",
		Args:    want(),
		RunE:    c.runDaemon,
	}
}

func (c *cli) runDaemon(cmd *cobra.Command, _ []string) error {
	ctx := cmd.Context()
	cfg, err := c.config(nil)
	if err != nil {
		return err
	}
	logger, err := app.NewLogger(c.stdout, cfg, "daemon")
	if err != nil {
		return err
	}
	stopMetrics, err := app.StartMetrics(ctx, "daemon", logger)
	if err != nil {
		return err
	}
	defer stopMetrics()
	for _, w := range cfg.Warnings() {
		logger.WarnContext(ctx, "configuration warning", "warning", w)
	}
	if err := app.TuneMemory(cfg); err != nil {
		return err
	}
	b, err := app.Open(ctx, cfg)
	if err != nil {
		return err
	}
	d, err := app.NewDaemon(cfg, b, logger)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return errors.Join(d.Run(ctx), b.CloseWithin(config.CloseTime))
}
