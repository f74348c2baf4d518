package app

import "runtime/debug"

// version is stamped by the linker: -X github.com/usherhq/usher/internal/app.version=…
var version string

// Version is the version of this build: what the linker stamped, else the module's version.
func Version() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" {
		return bi.Main.Version
	}
	return "(devel)"
}
