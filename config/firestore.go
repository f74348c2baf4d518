package config

// Firestore names the database.
type Firestore struct {
	EmulatorHost string `mapstructure:"emulator_host" alias:"FIRESTORE_EMULATOR_HOST" format:"address" desc:"host:port of Google's Firestore emulator; empty for the service"`
	Database     string `mapstructure:"database" required:"true" format:"database" desc:"database id; (default) is the project's default one"`
	Connections  int    `mapstructure:"connections" min:"1" max:"64" why:"a gRPC connection carries 100 calls" desc:"gRPC connections to Firestore"`
}

// Validate reports every problem of the section.
func (c *Firestore) Validate() error { return check("firestore", c) }
