package config

// Log says what is logged and how.
type Log struct {
	Level         string  `mapstructure:"level" enum:"debug,info,warn,error" desc:"least severe line that is logged"`
	Format        string  `mapstructure:"format" enum:"json,text" desc:"json for Cloud Logging, text for a terminal"`
	SuccessSample float64 `mapstructure:"success_sample" min:"0" max:"1" why:"it is a share" desc:"share of success lines that are logged; failures and receipts always are"`
}

// Validate reports every problem of the section.
func (c *Log) Validate() error { return check("log", c) }
