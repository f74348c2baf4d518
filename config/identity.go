package config

import "time"

// Identity says how long events are told apart and kept.
type Identity struct {
	Window    time.Duration `mapstructure:"window" min:"24h" max:"8784h" why:"vendors retry for a day" desc:"how long a repeated event is recognised as the same; dead letters are redriven within it"`
	Retention time.Duration `mapstructure:"retention" min:"1h" max:"87600h" why:"personal data is not kept for ever" desc:"how long personal data is kept"`
}

// Validate reports every problem of the section.
func (c *Identity) Validate() error { return check("identity", c) }
