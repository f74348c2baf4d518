//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/pstest"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/consumer/visitor"
	"github.com/usherhq/usher/internal/app"
	"github.com/usherhq/usher/internal/envelope"
	"github.com/usherhq/usher/internal/layout"
	"github.com/usherhq/usher/internal/store"
	"github.com/usherhq/usher/internal/testkit"
	"github.com/usherhq/usher/internal/usage"
)

// valve is a TCP proxy that can be held: what the client sends then waits, as with a server that hangs.
type valve struct {
	sync.RWMutex // held for writing while the valve is shut
	net.Listener
	to string
}

func newValve(t *testing.T, to string) *valve {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{Listener: l, to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { v.carry(from) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return v
}

func (v *valve) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", v.to)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}()
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		v.RLock()
		_, err = to.Write(b[:n])
		v.RUnlock()
		if err != nil {
			return
		}
	}
}

// plant is what a daemon process works with: an in-process Pub/Sub that tells what was acked, and the Firestore emulator
// behind a valve.
type plant struct {
	pubsub  *pstest.Server
	valve   *valve
	env     []string
	cfg     *config.Config
	backend *app.Backend
	month   string
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	firestore := testkit.NeedFirestore(t)
	p := &plant{pubsub: pstest.NewServer(), valve: newValve(t, firestore), month: time.Now().UTC().Format("2006-01")}
	t.Cleanup(func() { _ = p.pubsub.Close() })
	project := "GOOGLE_CLOUD_PROJECT=" + testkit.UniqueID(t, "demo")
	queue := "PUBSUB_EMULATOR_HOST=" + p.pubsub.Addr
	p.env = []string{project, queue, "FIRESTORE_EMULATOR_HOST=" + p.valve.Addr().String(),
		"USHER_CONSUMER_HEALTH_ADDR=127.0.0.1:0", "USHER_LOG_LEVEL=error", goRace + "=" + quickExit}
	own := []string{project, queue, "FIRESTORE_EMULATOR_HOST=" + firestore}
	var err error
	if p.cfg, err = config.Load(config.Options{Env: own}); err != nil {
		t.Fatal(err)
	}
	if p.backend, err = app.Open(t.Context(), p.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.backend.Close() })
	if err := p.backend.Queue.Create(t.Context(), app.Topology(p.cfg)); err != nil {
		t.Fatal(err)
	}
	if _, err := runHere(t, own, "tenant", "create", "acme"); err != nil {
		t.Fatal(err)
	}
	return p
}

// publish publishes n events of acme, all different.
func (p *plant) publish(t *testing.T, n int) {
	t.Helper()
	now := time.Now().UTC()
	for i := range n {
		m, err := envelope.Encode(&visitor.Event{
			Schema: visitor.Schema, Type: visitor.TypeVisitorIdentified, TenantID: "acme", Source: "leadpipe",
			ID: visitor.NewEventID("leadpipe", "acme", "key", i), Origin: visitor.OriginWebhook,
			IdentifiedAt: now, Receipt: visitor.Receipt{ReceivedAt: now},
		}, []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		p.pubsub.Publish("projects/"+p.cfg.Project+"/topics/"+p.cfg.PubSub.Topic, m.Data, m.Attributes)
	}
}

// run starts a daemon as a process of its own.
func (p *plant) run(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "usher", "run")
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// acked returns the ids of the events whose messages were acked.
func (p *plant) acked() (ids []visitor.EventID) {
	for _, m := range p.pubsub.Messages() {
		if m.Acks > 0 {
			ids = append(ids, visitor.EventID(m.Attributes[envelope.AttrEvent]))
		}
	}
	return ids
}

// ackedSome waits until so many messages are acked.
func (p *plant) ackedSome(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, func(context.Context) bool { return len(p.acked()) >= n }, "messages are acked")
}

// checkAckedIsStored: what a process acked is stored, however the process ended.
func (p *plant) checkAckedIsStored(t *testing.T) {
	t.Helper()
	ids := p.acked()
	for len(ids) > 0 {
		some := ids[:min(len(ids), 100)]
		ids = ids[len(some):]
		paths := make([]store.Path, len(some))
		for i, id := range some {
			var err error
			if paths[i], err = layout.Identification("acme", id); err != nil {
				t.Fatal(err)
			}
		}
		docs, err := p.backend.Store.Get(t.Context(), paths)
		if err != nil {
			t.Fatal(err)
		}
		for i := range docs {
			if !docs[i].Exists {
				t.Errorf("message of %s was acked and is not stored", some[i])
			}
		}
	}
}

// checkDrains: the next process does the rest, and everything took effect once.
func (p *plant) checkDrains(t *testing.T, want int) {
	t.Helper()
	cmd := p.run(t)
	p.ackedSome(t, want)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the idle process ended with %v", err)
	}
	p.checkAckedIsStored(t)
	events := int64(0)
	for _, month := range []string{p.month, time.Now().UTC().Format("2006-01")} {
		m, err := usage.Read(t.Context(), p.backend.Store, "acme", month, p.cfg.Consumer.UsageShards)
		if err != nil {
			t.Fatal(err)
		}
		if events += m.Events; month == time.Now().UTC().Format("2006-01") {
			break
		}
	}
	if events != int64(want) {
		t.Errorf("%d events are counted, want %d", events, want)
	}
}

// platformKill is when Cloud Run kills.
const platformKill = 10 * time.Second

// TestSIGTERMUnderLoad: a process in the middle of its work ends by itself before the platform would kill it.
func TestSIGTERMUnderLoad(t *testing.T) {
	t.Parallel()
	const messages = 3000
	p := newPlant(t)
	p.publish(t, messages)
	cmd := p.run(t)
	p.ackedSome(t, 100)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(platformKill, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v, want exit code 0 before the platform kills", err)
	}
	if n := len(p.acked()); n == messages {
		t.Error("everything was done before the signal: the test shows nothing")
	}
	p.checkAckedIsStored(t)
	p.checkDrains(t, messages)
}

// TestSecondSIGTERMEndsAtOnce: while the drain waits for a store that hangs, the next signal ends the process, and
// nothing is lost.
func TestSecondSIGTERMEndsAtOnce(t *testing.T) {
	t.Parallel()
	const messages = 1000
	p := newPlant(t)
	p.publish(t, messages)
	cmd := p.run(t)
	p.ackedSome(t, 50)
	p.valve.Lock()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		// A signal that came before the first was dealt with does not count as the second.
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
				t.Errorf("ended with %v, want to be ended by the second signal", err)
			}
			running = false
		case <-tick.C:
		}
	}
	p.valve.Unlock()
	p.checkAckedIsStored(t)
	p.checkDrains(t, messages)
}
