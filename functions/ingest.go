// Package functions registers usher's Cloud Functions: package main of a deployment is made by the buildpack.
package functions

import (
	"os"
	"strings"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/usherhq/usher/internal/app"
)

// Registration is all that init does: what a function needs is built by its first request.
func init() {
	for _, t := range app.Targets(os.Environ(), os.Stdout) {
		functions.HTTP(t.Name, t.Handler.ServeHTTP)
		// Without FUNCTION_TARGET the framework serves each name as an exact path, so the real path, which
		// stands for all below it, is registered as a name too.
		functions.HTTP(strings.TrimPrefix(t.Path, "/"), t.Handler.ServeHTTP)
	}
}
