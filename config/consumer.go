package config

import (
	"errors"
	"time"
)

// Consumer tunes the daemon: batches, commits, shutdown.
type Consumer struct {
	BatchEvents       int           `mapstructure:"batch_events" min:"1" max:"150" why:"at 3 writes an event a Commit stays under 500" desc:"most events in one Commit"`
	BatchBytes        int           `mapstructure:"batch_bytes" min:"65536" max:"2097151" why:"large Commits are slow, and the emulator takes 4 MiB" desc:"most bytes of events in one Commit"`
	BatchLinger       time.Duration `mapstructure:"batch_linger" min:"0s" max:"1s" why:"every event waits for it" desc:"how long a batch waits for more events"`
	Committers        int           `mapstructure:"committers" min:"1" max:"64" why:"more only contend for counters" desc:"Commits in flight"`
	CommitTimeout     time.Duration `mapstructure:"commit_timeout" min:"100ms" max:"1m" why:"the client retries until then" desc:"longest time of one Commit with its retries"`
	ProcessorTimeout  time.Duration `mapstructure:"processor_timeout" min:"10ms" max:"1m" why:"a message is held meanwhile" desc:"longest time of a tenant's processor chain for one event"`
	PublishTimeout    time.Duration `mapstructure:"publish_timeout" min:"10ms" max:"1m" why:"a message is held meanwhile" desc:"longest wait for Pub/Sub to acknowledge what the daemon parks or sheds; the message is nacked or processed then"`
	TenantConcurrency int           `mapstructure:"tenant_concurrency" min:"1" max:"10000" why:"each holds a message and a goroutine" desc:"how many of one tenant's events are in processors that may wait, at a time in a process"`
	ShutdownGrace     time.Duration `mapstructure:"shutdown_grace" min:"1s" max:"10m" why:"platforms kill then" desc:"time to drain after SIGTERM; Cloud Run kills after 10s"`
	HealthAddr        string        `mapstructure:"health_addr" required:"true" format:"address" desc:"address of /livez and /readyz"`
	ReadyMaxAge       time.Duration `mapstructure:"ready_max_age" min:"1s" max:"1h" why:"a stuck process is to be found soon" desc:"age of the oldest unfinished message from which on /readyz says no"`
	UsageShards       int           `mapstructure:"usage_shards" min:"1" max:"128" why:"reading usage reads them all" desc:"counter documents per tenant and month; more take more events a second"`
	ProbeIntervalMax  time.Duration `mapstructure:"probe_interval_max" min:"100ms" max:"20s" why:"receiving resumes within 30s of a recovery" desc:"longest pause between probes of a system that is down"`
	DedupeCache       int           `mapstructure:"dedupe_cache" min:"1" max:"10000000" why:"each takes about 100 bytes of memory" desc:"committed event ids remembered, so that most duplicates cost no read"`
}

// Validate reports every problem of the section.
func (c *Consumer) Validate() error {
	errs := []error{check("consumer", c)}
	var sum time.Duration
	for _, p := range c.shutdownBudget() {
		sum += p.Max
	}
	if sum > c.ShutdownGrace {
		errs = append(errs, problem("consumer.shutdown_grace",
			"want at least "+sum.String()+", which is processor_timeout + batch_linger + commit_timeout + publish_timeout + "+
				(FlushTime+CloseTime).String()+", or a drain is cut short"))
	}
	if c.ReadyMaxAge <= c.ProcessorTimeout+c.CommitTimeout {
		errs = append(errs, problem("consumer.ready_max_age",
			"want more than processor_timeout + commit_timeout, or a slow message makes the process unready"))
	}
	return errors.Join(errs...)
}

func (c *Consumer) shutdownBudget() []ShutdownPart {
	return []ShutdownPart{
		{"processors", c.ProcessorTimeout},
		{"batch", c.BatchLinger},
		{"commit", c.CommitTimeout},
		{"publish", c.PublishTimeout},
		{"telemetry", FlushTime},
		{"close", CloseTime},
	}
}
