package config

import "time"

// Tenants tunes the cache of tenant records.
type Tenants struct {
	Staleness    time.Duration `mapstructure:"staleness" min:"1s" max:"60s" why:"a change of a tenant takes that long" desc:"how old a cached tenant record can be"`
	CacheSize    int           `mapstructure:"cache_size" min:"1" max:"10000000" why:"records are held in memory" desc:"tenant records cached"`
	UnknownGrace time.Duration `mapstructure:"unknown_grace" min:"1s" max:"1h" why:"messages are redelivered meanwhile" desc:"how long a message of an unknown tenant is given back before it is parked"`
}

// Validate reports every problem of the section.
func (c *Tenants) Validate() error { return check("tenants", c) }
