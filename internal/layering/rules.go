package layering

import (
	"slices"
	"strings"
)

// layer is a package's place in the architecture. Imports go downwards.
type layer int

const (
	unknown   layer = iota
	standard        // the standard library
	library         // modules of others
	public          // what other repositories import
	leaf            // types that everything may use
	conf            // package config
	mechanism       // how: knows nothing of what usher does
	driver          // an implementation of a mechanism's contract
	feature         // what usher does
	assembly        // the composition root
	entry           // the two ends: functions and the binary
	tool            // main packages for development
	forTests        // helpers for tests
)

// layers is the place of every package. "x/..." covers the packages below x; packages in a directory cmd are tools, and
// those named for a suite ("queuetest") are test helpers.
var layers = map[string]layer{
	"consumer/visitor":   public,
	"consumer/processor": public,

	"config": conf,

	"internal/redact": leaf,
	"internal/tenant": leaf,

	"internal/batch":     mechanism,
	"internal/code":      mechanism,
	"internal/emulator":  mechanism,
	"internal/envelope":  mechanism,
	"internal/fault":     mechanism,
	"internal/fields":    mechanism,
	"internal/host":      mechanism,
	"internal/jsontree":  mechanism,
	"internal/layout":    mechanism,
	"internal/parts":     mechanism,
	"internal/queue":     mechanism,
	"internal/signature": mechanism,
	"internal/store":     mechanism,
	"internal/telemetry": mechanism,
	"internal/web":       mechanism,

	"internal/queue/gcppubsub":    driver,
	"internal/queue/memqueue":     driver,
	"internal/store/gcpfirestore": driver,
	"internal/store/memstore":     driver,

	"internal/admin":      feature,
	"internal/commit":     feature,
	"internal/condition":  feature,
	"internal/console":    feature,
	"internal/deadletter": feature,
	"internal/devlink":    feature,
	"internal/directory":  feature,
	"internal/dispatch":   feature,
	"internal/filter":     feature,
	"internal/held":       feature,
	"internal/ingest":     feature,
	"internal/lifecycle":  feature,
	"internal/outbound":   feature,
	"internal/profile":    feature,
	"internal/query":      feature,
	"internal/redrive":    feature,
	"internal/resolve":    feature,
	"internal/score":      feature,
	"internal/simulate":   feature,
	"internal/source":     feature,
	"internal/source/...": feature, // one adapter for each vendor
	"internal/usage":      feature,

	"internal/app": assembly,

	"consumer":  entry,
	"functions": entry,

	"internal/bench":       tool,
	"internal/chaos":       tool,
	"internal/e2e":         forTests,
	"internal/layering":    forTests,
	"internal/testkit":     forTests,
	"internal/testkit/...": forTests,
}

// below lists the layers of this module that each layer may import.
var below = map[layer][]layer{
	public:    {public},
	leaf:      {leaf, public},
	conf:      {leaf},
	mechanism: {mechanism, leaf, public},
	driver:    {mechanism, leaf, public},
	feature:   {feature, mechanism, leaf, public}, // features among themselves: see features
	assembly:  {conf, driver, feature, mechanism, leaf, public},
	entry:     {assembly, conf, feature, leaf, public},
	tool:      {assembly, conf, driver, feature, mechanism, leaf, public, forTests},
	forTests:  {assembly, conf, driver, feature, mechanism, leaf, public, forTests},
}

// features lists the features that each feature may import, by directory under internal; anyFeature means all. Parts of
// one feature may import each other.
var features = map[string][]string{
	"admin":     {anyFeature},
	"console":   {anyFeature},
	"lifecycle": {anyFeature},
	"query":     {anyFeature},

	"commit":     {"profile", "usage"},  // it turns their effects into writes
	"deadletter": {"resolve", "source"}, // a webhook is redriven by what resolves it in ingest
	"directory":  {"source"},            // it looks tenants up by a source's routes
	"dispatch":   {"commit", "directory", "outbound", "profile", "resolve", "source", "usage"},
	"filter":     {"condition"},
	"ingest":     {"resolve", "source"},
	"redrive":    {"resolve", "source"},
	"resolve":    {"source"}, // the cookbook's messages carry a source's payload
	"score":      {"condition"},
	"simulate":   {"source"},
}

const anyFeature = "*"

// cloudSDKs are the import paths of Google's clients and of the transport that they show to their callers.
var cloudSDKs = []string{
	"cloud.google.com/go",
	"google.golang.org/api",
	"google.golang.org/genproto",
	"google.golang.org/grpc",
}

// testLibraries are for tests alone.
var testLibraries = []string{
	"github.com/google/go-cmp",
	"github.com/rogpeppe/go-internal",
	"go.uber.org/goleak",
	"pgregory.net/rapid",
	"testing",
}

const functionsFramework = "github.com/GoogleCloudPlatform/functions-framework-go"

// configLibraries are viper and the two that it is used with.
var configLibraries = []string{
	"github.com/spf13/viper",
	"github.com/go-viper/mapstructure/v2",
	"go.yaml.in/yaml/v3",
}

// rule forbids some imports.
type rule struct {
	says   string
	reason string
	breaks func(from, to node) bool
}

// own reports whether the import stays within the module.
func (n node) own() bool { return n.layer != standard && n.layer != library }

// under reports whether the path is one of the given import paths or below one.
func (n node) under(paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return n.path == p || strings.HasPrefix(n.path, p+"/") })
}

// rules hold for imports of files that are no tests.
var rules = []rule{
	{
		says:   "functions and consumer are imported by nothing",
		reason: "they are the two ends of the program: the list of HTTP targets and all wiring live in internal/app",
		breaks: func(_, to node) bool { return to.layer == entry },
	},
	{
		says:   "test helpers are imported only by tests",
		reason: "nothing of them belongs into a binary",
		breaks: func(from, to node) bool {
			return from.layer != forTests && from.layer != tool && (to.layer == forTests || to.under(testLibraries...))
		},
	},
	{
		says:   "imports go downwards: entry, app, features, mechanisms, leaves, public",
		reason: "a package can be understood, tested and changed without what is above it",
		breaks: func(from, to node) bool {
			return to.own() && to.layer != entry && to.layer != forTests && !slices.Contains(below[from.layer], to.layer)
		},
	},
	{
		says:   "features import only the features listed for them",
		reason: "each further arrow among features ties two purposes together and is worth a decision",
		breaks: func(from, to node) bool {
			if from.layer != feature || to.layer != feature || from.family == to.family {
				return false
			}
			may := features[from.family]
			return !slices.Contains(may, to.family) && !slices.Contains(may, anyFeature)
		},
	},
	{
		says:   "functions imports only config and app",
		reason: "the buildpack wants this package flat and small, and its init must do nothing but register names",
		breaks: func(from, to node) bool {
			return from.path == "functions" && to.own() && to.layer != assembly && to.layer != conf
		},
	},
	{
		says:   "the public packages import the standard library only, and processor imports visitor",
		reason: "whoever writes a processor must not inherit usher's dependencies",
		breaks: func(from, to node) bool {
			return from.layer == public && to.layer != standard && (from.path != "consumer/processor" || to.path != "consumer/visitor")
		},
	},
	{
		says:   "leaves import the standard library, redact and the public packages",
		reason: "everything imports the leaves, with all that they import",
		breaks: func(from, to node) bool {
			return from.layer == leaf && (to.layer == library || to.layer == leaf && to.path != "internal/redact")
		},
	},
	{
		says:   "config imports the standard library, viper with its companions, and redact",
		reason: "configuration is data: app maps its sections to each package's Options",
		breaks: func(from, to node) bool {
			return from.layer == conf && (to.own() && to.path != "internal/redact" || to.layer == library && !to.under(configLibraries...))
		},
	},
	{
		says:   "under internal only app imports config",
		reason: "packages take Options, so that they can be used and tested without a configuration",
		breaks: func(from, to node) bool {
			return to.layer == conf && from.layer != assembly && from.layer != entry && from.layer != forTests && from.layer != tool
		},
	},
	{
		says:   "cloud SDKs only in gcppubsub, gcpfirestore, telemetry and app",
		reason: "everything else runs on the memory twins as well, and must not see which it is",
		breaks: func(from, to node) bool {
			if from.layer == tool || from.layer == forTests {
				return false
			}
			return to.under(cloudSDKs...) &&
				!from.under("internal/queue/gcppubsub", "internal/store/gcpfirestore", "internal/telemetry", "internal/app")
		},
	},
	{
		says:   "functions-framework only in functions, consumer and app",
		reason: "its registry is global and ends the process on a duplicate",
		breaks: func(from, to node) bool {
			return to.under(functionsFramework) && from.layer != entry && from.layer != assembly
		},
	},
}

// testRules hold for imports of test files, which are otherwise free: a test may put together what it needs.
var testRules = []rule{
	{
		says:   "functions and consumer are imported by nothing",
		reason: "a test of the whole program starts internal/app, or runs the binary",
		breaks: func(_, to node) bool { return to.layer == entry },
	},
}
