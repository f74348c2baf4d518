package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestDevSamples(t *testing.T) {
	t.Parallel()
	out, err := runHere(t, nil, "dev", "--samples", "--once", "--port", "0")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Sent 24 sample webhooks", "Tenant acme", "Tenant globex", "leadpipe    4 ", "mdb_legacy  4 ", "midbound    4 ", "curl -X POST",
		"\nbin/usher send midbound --wait\n", "\nbin/usher simulate --count 1000\n", "What is stored now, per tenant:\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestDevIsStoppedBeforeItStarts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, []string{"dev", "--samples", "--port", "0"}, nil, io.Discard, io.Discard); err != nil {
		t.Errorf("error %v, want none: it was asked to end", err)
	}
}

func TestDevErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"port", nil, []string{"--port", "70000"}, "http.port (USHER_HTTP_PORT): want 0 to 65535"},
		{"log level", nil, []string{"--log-level", "loud"}, "log.level (USHER_LOG_LEVEL)"},
		{"unknown source", []string{`USHER_ENDPOINTS=[{name: a, source: nobody, auth: {mode: unsigned}}]`}, nil, "endpoints[0].source: unknown source"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := runHere(t, tc.env, append([]string{"dev", "--port", "0"}, tc.args...)...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestNoPersonalDataInLogs sends webhooks with a known person, good and bad, and searches all that was logged.
func TestNoPersonalDataInLogs(t *testing.T) {
	t.Parallel()
	logs := newWatched()
	d := startDev(logs, "--log-level", "debug", "--log-format", "json")
	if err := d.wait(); err != nil {
		t.Fatal(err)
	}
	env := []string{"USHER_DEV_ADDR=" + d.out.addr}
	personal := `"first_name":"Zebulonia","work_email":"zebulonia@example.com","ip_address":"192.0.2.77","linkedin_url":"https://www.linkedin.com/in/zebulonia"`
	good := writeFile(t, "good.json", `{"version":"v1","options":{"tenant_id":"acme"},"data":{`+personal+`}}`)
	if out, err := runHere(t, env, "send", "mdb_legacy", "--file", good, "--tenant", "acme", "--wait"); err != nil {
		t.Fatal(err, out)
	}
	for name, text := range map[string]string{
		"version": `{"version":"v9","data":{` + personal + `}}`,
		"syntax":  `{"version":"v1","data":{` + personal,
		"tenant":  `{"version":"v1","options":{"tenant_id":"zebulonia@example.com/"},"data":{` + personal + `}}`,
	} {
		if _, err := runHere(t, env, "send", "mdb_legacy", "--file", writeFile(t, name, text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`"message":"receipt"`, `"outcome":"stored"`} {
		if !strings.Contains(logs.String(), line) {
			t.Errorf("logs lack %s, so nothing was searched:\n%s", line, logs)
		}
	}
	for _, secret := range []string{"ebulonia", "192.0.2.77"} {
		if strings.Contains(logs.String(), secret) {
			t.Errorf("logs hold %q:\n%s", secret, logs)
		}
	}
}
