package config

import "time"

// HTTP is the server of the functions.
type HTTP struct {
	Host        string        `mapstructure:"host" format:"host" desc:"host or IP to listen on; empty for every interface"`
	Port        int           `mapstructure:"port" alias:"PORT" min:"0" max:"65535" why:"0 takes a free port" desc:"port to listen on"`
	MaxBody     int           `mapstructure:"max_body" min:"1024" max:"4194304" why:"an event with its payload fits a Pub/Sub message of 9 MB" desc:"most bytes of a webhook's body"`
	ReadTimeout time.Duration `mapstructure:"read_timeout" min:"1s" max:"5m" why:"slow senders hold connections" desc:"longest time to read a request and its body"`
}

// Validate reports every problem of the section.
func (c *HTTP) Validate() error { return check("http", c) }
