package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/usherhq/usher/internal/tenant"
)

// readYAML reads one YAML or JSON document. Unknown keys are errors.
func readYAML(file string, into any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(into); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: empty", file)
	} else if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: want one document", file)
	}
	return nil
}

// readProcessors reads a chain; no file is no chain.
func readProcessors(file string) ([]tenant.Binding, error) {
	if file == "" {
		return nil, nil
	}
	var chain []tenant.Binding
	err := readYAML(file, &chain)
	return chain, err
}

// settings prints a processor's settings behind its name.
func settings(m map[string]any) string {
	if len(m) == 0 {
		return ""
	}
	b, err := json.Marshal(m)
	if err != nil {
		return " (settings cannot be printed)" // stored settings are plain values
	}
	return " " + string(b)
}
