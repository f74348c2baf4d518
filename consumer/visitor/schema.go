package visitor

import (
	_ "embed"
	"slices"
)

//go:generate go test . -run ^TestJSONSchema_fresh$ -update

//go:embed schema/v1.json
var jsonSchema []byte

// JSONSchema returns the JSON Schema (draft 2020-12) of [Event], generated from this package's types. A reader
// should accept what it does not know, fields and enumerated values alike: later minor versions add both.
func JSONSchema() []byte { return slices.Clone(jsonSchema) }
