package emulator

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary double as a gcloud that runs an emulator: see fakeSDK.
func TestMain(m *testing.M) {
	if os.Getenv("EMULATOR_TEST_FAKE") == "1" {
		os.Exit(fakeGcloud(os.Args))
	}
	os.Exit(m.Run())
}

func fakeGcloud(args []string) int {
	for _, arg := range args {
		if host, ok := strings.CutPrefix(arg, "--host-port="); ok {
			err := http.ListenAndServe(host, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("Ok\n"))
			}))
			println(err.Error())
		}
	}
	return 1
}

// fakeSDK installs an SDK whose gcloud is the given shell script and makes it the only thing in PATH but the shell's
// own tools. It returns the SDK's root.
func fakeSDK(t *testing.T, script string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake gcloud is a shell script")
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "platform/pubsub-emulator", "platform/cloud-firestore-emulator"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"gcloud": script, "java": "exit 0"} {
		if err := os.WriteFile(filepath.Join(root, "bin", name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(root, "bin")+":/usr/bin:/bin")
	return root
}

// working is a fake gcloud that serves, with a child process beneath it as the real one has.
func working(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "EMULATOR_TEST_FAKE=1 '" + exe + `' "$@" & wait`
}

func TestStartAndStopRealEmulators(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{PubSub, Firestore} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			if _, err := Find(t.Context(), kind); err != nil {
				if os.Getenv("USHER_REQUIRE_EMULATORS") == "1" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			e, err := Start(t.Context(), kind, Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { checkStopped(t, e) })
			if !answers(t.Context(), e.Host) {
				t.Errorf("%s does not answer on %s", kind, e.Host)
			}
			if runtime.GOOS == "linux" {
				if used, err := e.CPUTime(); err != nil || used <= 0 {
					t.Errorf("CPUTime = %v, %v; want the time of a JVM's start", used, err)
				}
			}
		})
	}
}

// checkStopped stops the emulator and checks that nothing of it is left.
func checkStopped(t *testing.T, e *Emulator) {
	t.Helper()
	if err := e.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := e.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	select {
	case <-e.Exited():
	default:
		t.Error("Exited is open after Stop")
	}
	if groupRuns(e.Pid) {
		t.Errorf("a process of group %d is left", e.Pid)
	}
	if _, err := e.CPUTime(); err == nil {
		t.Error("CPUTime of a stopped emulator: no error")
	}
	if conn, err := net.Dial("tcp", e.Host); err == nil {
		t.Errorf("%s still accepts connections", e.Host)
		conn.Close()
	}
	if _, err := os.Stat(e.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary directory is left: %v", err)
	}
}

func TestStartAndStop(t *testing.T) {
	fakeSDK(t, working(t))
	e, err := Start(t.Context(), Firestore, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkStopped(t, e)
}

func TestEmulatorEndsWithTheProcessThatStartedIt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs process groups")
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := lifeline(theirs, "/bin/sh", []string{"-c", "sleep 1000 & wait"})
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if !groupRuns(cmd.Process.Pid) {
		t.Error("the command does not run")
	}
	ours.Close() // what the kernel does for a process that dies
	if err := cmd.Wait(); err == nil {
		t.Error("the command ended by itself; want it killed")
	}
	if err := waitGroup(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
}

func TestStartTriesAgainWhenItsPortIsTaken(t *testing.T) {
	root := fakeSDK(t, "")
	first := filepath.Join(root, "first")
	script := "#!/bin/sh\nif [ ! -e '" + first + "' ]; then touch '" + first + "'; echo address in use; exit 1; fi\n" + working(t) + "\n"
	if err := os.WriteFile(filepath.Join(root, "bin", "gcloud"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e, err := Start(t.Context(), PubSub, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkStopped(t, e)
}

func TestStartFails(t *testing.T) {
	tests := []struct {
		name    string
		script  string
		opts    Options
		wantErr string
	}{
		{name: "exits", script: "echo no such flag; exit 2", wantErr: "exited before it was ready; its last output:\nno such flag"},
		{name: "never answers", script: "sleep 1000 & wait", opts: Options{Timeout: 300 * time.Millisecond}, wantErr: "not ready within 300ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fakeSDK(t, tt.script)
			e, err := Start(t.Context(), PubSub, tt.opts)
			if err == nil {
				t.Fatalf("started on %s; want an error", e.Host)
			}
			if !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error = %q; want it to contain %q", err, tt.wantErr)
			}
		})
	}
}

func TestFindNamesWhatIsMissing(t *testing.T) {
	tests := []struct {
		name    string
		remove  string
		path    string
		wantErr string
	}{
		{name: "gcloud", remove: "bin/gcloud", wantErr: "gcloud is not in PATH"},
		{name: "java", remove: "bin/java", wantErr: "java is not in PATH"},
		{name: "component", remove: "platform/pubsub-emulator", wantErr: "gcloud lacks the component pubsub-emulator"},
		{name: "unusual layout", remove: "platform", wantErr: "gcloud lacks the component pubsub-emulator"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fakeSDK(t, "exit 1")
			t.Setenv("PATH", filepath.Join(root, "bin"))
			if err := os.RemoveAll(filepath.Join(root, tt.remove)); err != nil {
				t.Fatal(err)
			}
			_, err := Find(t.Context(), PubSub)
			if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error = %v; want ErrNotInstalled with %q", err, tt.wantErr)
			}
		})
	}
}

func TestFindAsksGcloudForAnUnusualLayout(t *testing.T) {
	root := fakeSDK(t, "")
	elsewhere := filepath.Join(root, "sdk")
	if err := os.MkdirAll(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "platform"), filepath.Join(elsewhere, "platform")); err != nil {
		t.Fatal(err)
	}
	gcloud := filepath.Join(root, "bin", "gcloud")
	if err := os.WriteFile(gcloud, []byte("#!/bin/sh\necho '"+elsewhere+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(t.Context(), Firestore); err != nil || got != gcloud {
		t.Errorf("Find = %q, %v; want %q", got, err, gcloud)
	}
}

func TestRun(t *testing.T) {
	tests := []struct {
		name     string
		script   string
		missing  bool
		require  bool
		env      []string
		wantCode int
		wantErr  string
		wantOut  string
		wantLog  string
	}{
		{name: "sets the variables", script: `echo "p=${PUBSUB_EMULATOR_HOST%:*} f=${FIRESTORE_EMULATOR_HOST%:*}"`, wantOut: "p=127.0.0.1 f=127.0.0.1\n"},
		{name: "leaves a set variable", script: `echo "$PUBSUB_EMULATOR_HOST"`, env: []string{"PUBSUB_EMULATOR_HOST=192.0.2.1:8085"}, wantOut: "192.0.2.1:8085\n"},
		{name: "returns the exit code", script: "exit 3", wantCode: 3},
		{name: "returns a signal's code", script: "kill -KILL $$", wantCode: 128 + int(syscall.SIGKILL)},
		{name: "goes on without", missing: true, script: `echo "p=$PUBSUB_EMULATOR_HOST"`, wantOut: "p=\n", wantLog: "no Pub/Sub emulator: its suites will be skipped"},
		{name: "fails without when required", missing: true, require: true, script: "echo ran", wantErr: "emulator not installed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fakeSDK(t, working(t))
			if tt.missing {
				if err := os.Remove(filepath.Join(root, "bin", "java")); err != nil {
					t.Fatal(err)
				}
				t.Setenv("PATH", filepath.Join(root, "bin"))
			}
			var out, log bytes.Buffer
			code, err := Run(t.Context(), []string{"/bin/sh", "-c", tt.script}, RunOptions{
				Kinds: []Kind{PubSub, Firestore}, Require: tt.require, Env: tt.env, Stdout: &out, Stderr: &log,
			})
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error = %v; want %q", err, tt.wantErr)
				}
			} else if err != nil {
				t.Errorf("error = %v", err)
			}
			if code != tt.wantCode || out.String() != tt.wantOut || !strings.Contains(log.String(), tt.wantLog) {
				t.Errorf("code %d, output %q, log %q; want %d, %q, %q", code, out.String(), log.String(), tt.wantCode, tt.wantOut, tt.wantLog)
			}
		})
	}
}

func TestRunRefusesACommandItCannotStart(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{"none": nil, "missing": {"/nonexistent/command"}} {
		if _, err := Run(t.Context(), command, RunOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// upWriter passes on a signal once the command has written something.
type upWriter struct {
	signals chan<- os.Signal
	sent    bool
}

func (w *upWriter) Write(b []byte) (int, error) {
	if !w.sent {
		w.sent = true
		w.signals <- syscall.SIGTERM
	}
	return len(b), nil
}

func TestRunForwardsSignals(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	signals := make(chan os.Signal, 1)
	code, err := Run(t.Context(), []string{"/bin/sh", "-c", "trap 'exit 7' TERM; echo up; sleep 1000 & wait"}, RunOptions{
		Stdout: &upWriter{signals: signals}, Stderr: &bytes.Buffer{}, Signals: signals,
	})
	if err != nil || code != 7 {
		t.Errorf("Run = %d, %v; want the trap's code 7", code, err)
	}
}

func TestRunInterruptedWhileStarting(t *testing.T) {
	fakeSDK(t, "sleep 1000 & wait")
	signals := make(chan os.Signal, 1)
	signals <- os.Interrupt
	_, err := Run(t.Context(), []string{"/bin/true"}, RunOptions{Kinds: []Kind{PubSub}, Stderr: &bytes.Buffer{}, Signals: signals})
	if err == nil || !strings.Contains(err.Error(), "interrupted") || !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v; want interrupted and context.Canceled", err)
	}
}
