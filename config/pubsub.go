package config

import (
	"errors"
	"strings"
	"time"
)

// PubSub names the topics and their subscriptions, and bounds what one process holds.
type PubSub struct {
	EmulatorHost           string        `mapstructure:"emulator_host" alias:"PUBSUB_EMULATOR_HOST" format:"address" desc:"host:port of Google's Pub/Sub emulator; empty for the service"`
	Topic                  string        `mapstructure:"topic" required:"true" format:"pubsub" desc:"topic of visitor events"`
	DeadLetterTopic        string        `mapstructure:"dead_letter_topic" required:"true" format:"pubsub" desc:"topic of messages that cannot be processed"`
	Subscription           string        `mapstructure:"subscription" required:"true" format:"pubsub" desc:"subscription that the daemon receives on"`
	DeadLetterSubscription string        `mapstructure:"dead_letter_subscription" required:"true" format:"pubsub" desc:"subscription that keeps the dead letters: without one they are lost"`
	OverflowTopic          string        `mapstructure:"overflow_topic" required:"true" format:"pubsub" desc:"topics of the overflow lanes: this name with -0 to -3"`
	OverflowSubscription   string        `mapstructure:"overflow_subscription" required:"true" format:"pubsub" desc:"subscriptions of the overflow lanes: this name with -0 to -3"`
	Streams                int           `mapstructure:"streams" min:"1" max:"32" why:"one stream carries thousands of messages a second" desc:"streaming pulls of the main lane; 4 to 8 help with the emulator"`
	MaxMessages            int           `mapstructure:"max_messages" min:"8" max:"100000" why:"each is held in memory under a lease" desc:"messages that one process holds at a time, over all lanes: half of them are the main lane's, an eighth each overflow lane's"`
	MaxBytes               int           `mapstructure:"max_bytes" min:"10485760" max:"4294967296" why:"one message can have 10 MiB" desc:"bytes of messages that one process holds at a time, divided like max_messages; a larger message is held alone"`
	Lease                  time.Duration `mapstructure:"lease" min:"10s" max:"10m" why:"Pub/Sub's ack deadlines" desc:"ack deadline of a held message; about how soon a killed process's messages return"`
	MaxHold                time.Duration `mapstructure:"max_hold" min:"10s" max:"1h" why:"Pub/Sub extends no lease for longer" desc:"longest time a message is held, through an outage too, before it is given back"`
	PublishTimeout         time.Duration `mapstructure:"publish_timeout" min:"100ms" max:"14s" why:"vendors wait 15s for their answer" desc:"longest wait for Pub/Sub to acknowledge an event"`
}

// Validate reports every problem of the section.
func (c *PubSub) Validate() error {
	errs := []error{check("pubsub", c)}
	if c.Topic != "" && c.Topic == c.DeadLetterTopic {
		errs = append(errs, problem("pubsub.dead_letter_topic", "want another topic than pubsub.topic, or dead letters loop"))
	}
	if c.Subscription != "" && c.Subscription == c.DeadLetterSubscription {
		errs = append(errs, problem("pubsub.dead_letter_subscription", "want another subscription than pubsub.subscription: each has one topic"))
	}
	if isLane(c.Topic, c.OverflowTopic) || isLane(c.DeadLetterTopic, c.OverflowTopic) {
		errs = append(errs, problem("pubsub.overflow_topic", "want names that are not those of the other topics"))
	}
	if isLane(c.Subscription, c.OverflowSubscription) || isLane(c.DeadLetterSubscription, c.OverflowSubscription) {
		errs = append(errs, problem("pubsub.overflow_subscription", "want names that are not those of the other subscriptions"))
	}
	if c.MaxHold < c.Lease {
		errs = append(errs, problem("pubsub.max_hold", "want at least pubsub.lease"))
	}
	return errors.Join(errs...)
}

// isLane reports whether name is that of an overflow lane.
func isLane(name, prefix string) bool {
	n, ok := strings.CutPrefix(name, prefix+"-")
	return ok && len(n) == 1 && '0' <= n[0] && n[0] <= '3'
}
