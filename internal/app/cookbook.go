package app

import (
	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/resolve"
	"github.com/usherhq/usher/internal/source/mdblegacy"
)

// cookbookEndpoint stands for the publishers written after MDB's cookbook. Its retry window is that of the
// first endpoint that takes the same webhooks over HTTP, so that both ways agree on what is a new event.
func cookbookEndpoint(cfg *config.Config) *resolve.Endpoint {
	adapter := mdblegacy.New()
	ep := &resolve.Endpoint{Name: "cookbook", Adapter: adapter}
	for i := range cfg.Endpoints {
		if e := &cfg.Endpoints[i]; e.Source == adapter.Info().Name {
			ep.RepeatAfter = e.RepeatAfter
			break
		}
	}
	return ep
}
