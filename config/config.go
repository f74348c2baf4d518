// Package config loads usher's configuration: defaults, an optional file, the environment and flags, in
// rising precedence, checked as a whole so that every problem is reported at once.
package config

import (
	"errors"
	"time"
)

// Config is the whole configuration. [Load] returns only valid ones. Printing it in any format shows no
// secret.
type Config struct {
	Project   string     `mapstructure:"project" alias:"GOOGLE_CLOUD_PROJECT" format:"project" desc:"Google Cloud project of Pub/Sub and Firestore"`
	Log       Log        `mapstructure:"log"`
	PubSub    PubSub     `mapstructure:"pubsub"`
	Firestore Firestore  `mapstructure:"firestore"`
	Consumer  Consumer   `mapstructure:"consumer"`
	Tenants   Tenants    `mapstructure:"tenants"`
	Identity  Identity   `mapstructure:"identity"`
	HTTP      HTTP       `mapstructure:"http"`
	Endpoints []Endpoint `mapstructure:"endpoints" desc:"inbound webhook URLs; in the environment as a YAML or JSON list"`

	// origins says where each value that is not a default came from. It holds no values: fmt would print
	// secrets in an unexported field.
	origins map[string]Origin
}

// Validate reports every problem at once, each prefixed by its key and the variable that sets it. No error
// quotes a value.
func (c *Config) Validate() error {
	return errors.Join(
		check("", c),
		c.Log.Validate(),
		c.PubSub.Validate(),
		c.Firestore.Validate(),
		c.Consumer.Validate(),
		c.Tenants.Validate(),
		c.Identity.Validate(),
		c.HTTP.Validate(),
		c.validateAcross(),
		c.validateEndpoints(),
	)
}

// validateAcross checks what holds between sections.
func (c *Config) validateAcross() error {
	var errs []error
	if c.PubSub.MaxMessages/2 < c.Consumer.BatchEvents*c.Consumer.Committers {
		errs = append(errs, problem("pubsub.max_messages",
			"want at least 2 x consumer.batch_events x consumer.committers, or batches of the main lane's half never fill"))
	}
	if c.Consumer.ProcessorTimeout+c.Consumer.CommitTimeout >= c.PubSub.Lease {
		errs = append(errs, problem("pubsub.lease",
			"want more than consumer.processor_timeout + consumer.commit_timeout, or messages are redelivered while they are committed"))
	}
	if c.Consumer.ReadyMaxAge >= c.PubSub.MaxHold {
		errs = append(errs, problem("consumer.ready_max_age",
			"want less than pubsub.max_hold, or a message is given back before the process is unready"))
	}
	if c.Identity.Retention < c.Identity.Window {
		errs = append(errs, problem("identity.retention",
			"want at least identity.window, or an event that comes again after its record expired is stored and counted twice"))
	}
	if c.Tenants.UnknownGrace < c.Tenants.Staleness {
		errs = append(errs, problem("tenants.unknown_grace",
			"want at least tenants.staleness, or a new tenant's first messages are parked"))
	}
	return errors.Join(errs...)
}

// ValidateRun reports what a process that talks to Google Cloud needs beyond [Config.Validate]: a project,
// unless both services are emulated.
func (c *Config) ValidateRun() error {
	if c.Project == "" && !c.Emulated() {
		return problem("project", "required; GOOGLE_CLOUD_PROJECT is read too")
	}
	return nil
}

// Emulated reports whether both Pub/Sub and Firestore are Google's emulators.
func (c *Config) Emulated() bool {
	return c.PubSub.EmulatorHost != "" && c.Firestore.EmulatorHost != ""
}

// Warnings lists what is legal and probably not meant.
func (c *Config) Warnings() []string {
	var out []string
	if c.Project == "" && !c.Emulated() {
		out = append(out, "project (USHER_PROJECT): empty, so only usher dev and emulators work")
	}
	for i := range c.Endpoints {
		if c.Endpoints[i].Auth.Mode == AuthUnsigned {
			out = append(out, endpointKey(i, "auth.mode")+": unsigned, so anybody who knows the URL can send")
		}
	}
	return out
}

// ShutdownPart is one step of a shutdown with the longest time it may take.
type ShutdownPart struct {
	Name string
	Max  time.Duration
}

// What comes after the last message has these parts of the shutdown grace.
const (
	FlushTime = 500 * time.Millisecond // to send the last metrics
	CloseTime = 500 * time.Millisecond // to close the clients
)

// ShutdownBudget returns what a drain consists of. The parts follow one another, so their sum is the longest
// drain; [Config.Validate] holds it to consumer.shutdown_grace.
func (c *Config) ShutdownBudget() []ShutdownPart { return c.Consumer.shutdownBudget() }

// DrainTime is how long handlers may take once receiving has ended: processor, batch, commit, and publishing what is
// parked.
func (c *Config) DrainTime() time.Duration {
	return c.Consumer.ProcessorTimeout + c.Consumer.BatchLinger + c.Consumer.CommitTimeout + c.Consumer.PublishTimeout
}
