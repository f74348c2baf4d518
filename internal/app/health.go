package app

import (
	"fmt"
	"net/http"
)

// healthHandler serves /livez (the process runs) and /readyz (it makes progress).
func (d *Daemon) healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, "") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.unready()) })
	return mux
}

// unready says why the daemon makes no progress; "" when it does.
func (d *Daemon) unready() string {
	switch {
	case !d.receiving.Load():
		return "not receiving"
	case !d.dispatcher.Ready():
		return "a system is away"
	case d.dispatcher.Oldest() >= d.cfg.Consumer.ReadyMaxAge:
		return "a message is unfinished for too long"
	}
	return ""
}

func answer(w http.ResponseWriter, reason string) {
	w.Header().Set("Content-Type", "application/json")
	if reason == "" {
		_, _ = fmt.Fprintln(w, `{"ok":true}`) // the prober may have gone
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintf(w, `{"ok":false,"reason":%q}`+"\n", reason)
}
