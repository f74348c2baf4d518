package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/emulator"
)

// replaceFirestore moves the scenario to a new Firestore emulator with the data of the old one, which it kills. Nobody
// may be connected to the old one: what it acknowledged after the export would be lost.
func (r *rig) replaceFirestore(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "usher-export-")
	if err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const name = "data"
	err = r.transfer(ctx, r.own.Host, "export", map[string]string{"export_directory": dir, "export_name": name})
	if err != nil {
		return err
	}
	if err := errors.Join(r.backend.Store.Close(), r.own.Stop()); err != nil {
		return err
	}
	if r.own, err = emulator.Start(ctx, emulator.Firestore, emulator.Options{}); err != nil {
		return err
	}
	file := filepath.Join(dir, name, name+".overall_export_metadata")
	if err := r.transfer(ctx, r.own.Host, "import", map[string]string{"export_directory": file}); err != nil {
		return err
	}
	r.cfg.Firestore.EmulatorHost = r.own.Host
	r.firestore.Retarget(r.own.Host)
	r.backend.Store, err = app.OpenStore(ctx, r.cfg)
	return err
}

// transfer has an emulator export or import the scenario's database.
func (r *rig) transfer(ctx context.Context, host, action string, body map[string]string) error {
	body["database"] = "projects/" + r.cfg.Project + "/databases/" + r.cfg.Firestore.Database
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	url := "http://" + host + "/emulator/v1/projects/" + r.cfg.Project + ":" + action
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10)); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s: %w", action, resp.Status, said, err)
	}
	return nil
}
