package emulator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kind is one of Google's emulators.
type Kind int

// The emulators that usher uses.
const (
	PubSub Kind = iota
	Firestore
)

var kinds = [...]struct {
	name      string
	command   string // of gcloud
	component string // its directory under the SDK's platform directory
	env       string
	dataDir   bool // whether it takes --data-dir, and would else write to the user's configuration
}{
	PubSub: {
		name: "Pub/Sub", command: "beta emulators pubsub", component: "pubsub-emulator",
		env: "PUBSUB_EMULATOR_HOST", dataDir: true,
	},
	Firestore: {
		name: "Firestore", command: "emulators firestore", component: "cloud-firestore-emulator",
		env: "FIRESTORE_EMULATOR_HOST",
	},
}

// String returns the product's name.
func (k Kind) String() string { return kinds[k].name }

// EnvVar returns the environment variable by which Google's clients find the emulator.
func (k Kind) EnvVar() string { return kinds[k].env }

// Find returns the path of a gcloud that can run the emulator, or ErrNotInstalled with what is missing. It never
// installs anything, which gcloud itself would do unasked.
func Find(ctx context.Context, k Kind) (string, error) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return "", fmt.Errorf("%w: gcloud is not in PATH", ErrNotInstalled)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: java is not in PATH", ErrNotInstalled)
	}
	if !hasComponent(ctx, gcloud, kinds[k].component) {
		return "", fmt.Errorf("%w: gcloud lacks the component %s", ErrNotInstalled, kinds[k].component)
	}
	return gcloud, nil
}

// hasComponent looks beside the gcloud that PATH names, and asks gcloud (a second of Python) only when its directory
// is laid out in another way.
func hasComponent(ctx context.Context, gcloud, component string) bool {
	if target, err := filepath.EvalSymlinks(gcloud); err == nil {
		if root := filepath.Dir(filepath.Dir(target)); isDir(filepath.Join(root, "platform")) {
			return isDir(filepath.Join(root, "platform", component))
		}
	}
	out, err := exec.CommandContext(ctx, gcloud, "info", "--format=value(installation.sdk_root)").Output()
	return err == nil && isDir(filepath.Join(strings.TrimSpace(string(out)), "platform", component))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
