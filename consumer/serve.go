package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"github.com/spf13/cobra"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

func (c *cli) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the HTTP functions in a container",
		Long: `Serve the HTTP functions with functions-framework on http.port, which PORT sets too: all of them, or at every
path the one that FUNCTION_TARGET names. The configuration is checked at the start; Google's services are
opened by the first request. After SIGTERM new requests are answered 503 and those under way are waited for,
up to consumer.shutdown_grace.`,
		Example: "  PORT=8080 usher serve --config usher.yaml\n  FUNCTION_TARGET=Ingest usher serve",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context()) },
	}
}

// answerTime lets the last answers, which the framework's server writes after the handlers, reach the network.
const answerTime = 100 * time.Millisecond

func (c *cli) serve(ctx context.Context) error {
	cfg, err := c.serveConfig()
	if err != nil {
		return err
	}
	logger, err := app.NewLogger(c.stdout, cfg, "serve")
	if err != nil {
		return err
	}
	stopMetrics, err := app.StartMetrics(ctx, "serve", logger)
	if err != nil {
		return err
	}
	defer stopMetrics()
	g := &gate{idle: make(chan struct{})}
	if err := register(ctx, app.Targets(c.targetEnv(), c.stdout), c.getenv("FUNCTION_TARGET"), func(h http.Handler) http.Handler {
		return g.count(readWithin(cfg.HTTP.ReadTimeout, h), app.Refuse(logger))
	}); err != nil {
		return err
	}
	// The framework's server cannot be stopped: it ends with the process.
	ended := make(chan error, 1)
	go func() { ended <- funcframework.StartHostPort(bracket(cfg.HTTP.Host), strconv.Itoa(cfg.HTTP.Port)) }()
	logger.InfoContext(ctx, "serving", "port", cfg.HTTP.Port)
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Consumer.ShutdownGrace-answerTime-config.FlushTime)
	defer cancel()
	err = g.drain(stopping)
	time.Sleep(answerTime)
	logger.InfoContext(stopping, "stopped serving")
	return err
}

// serveConfig loads all that the functions will need, so that a mistake shows at the start.
func (c *cli) serveConfig() (*config.Config, error) {
	cfg, err := c.config(nil)
	if err != nil {
		return nil, err
	}
	_, err = app.Endpoints(cfg)
	errs := []error{cfg.ValidateRun(), err}
	if len(cfg.Endpoints) == 0 {
		errs = append(errs, errors.New("endpoints (USHER_ENDPOINTS): empty, so every webhook would be refused"))
	}
	if cfg.HTTP.Port == 0 {
		errs = append(errs, errors.New("http.port (USHER_HTTP_PORT): 0 works with usher dev only"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return cfg, nil
}

// targetEnv is the environment with what flags say.
func (c *cli) targetEnv() []string {
	env := slices.Clone(c.env)
	for name, value := range map[string]string{
		"USHER_CONFIG": c.configFile, "USHER_LOG_LEVEL": c.logLevel, "USHER_LOG_FORMAT": c.logFormat,
	} {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// register registers the one target that is asked for, or all.
func register(ctx context.Context, targets []app.Target, only string, wrap func(http.Handler) http.Handler) error {
	if only == "" {
		for _, t := range targets {
			if err := funcframework.RegisterHTTPFunctionContext(ctx, t.Path, wrap(t.Handler).ServeHTTP); err != nil {
				return fmt.Errorf("register %s: %w", t.Name, err)
			}
		}
		return nil
	}
	var names []string
	for _, t := range targets {
		if t.Name == only {
			functions.HTTP(t.Name, wrap(t.Handler).ServeHTTP)
			return nil
		}
		names = append(names, t.Name)
	}
	return fmt.Errorf("FUNCTION_TARGET: no function %q: want one of %s, or none for all", only, strings.Join(names, ", "))
}

// bracket writes an IPv6 address as it stands before a port.
func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// readWithin bounds the time to read a request's body, which the framework's server does not.
func readWithin(d time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if r.Body != nil && rc.SetReadDeadline(time.Now().Add(d)) == nil {
			r.Body = &timedBody{r.Body, rc}
		}
		h.ServeHTTP(w, r)
	})
}
