package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/config"
	"github.com/usherhq/usher/internal/app"
)

// memory measures what the real daemon's process takes while it drains a backlog.
type memory struct {
	messages int
	bytes    int
	large    int
	seconds  float64
}

func newMemory() measurement { return &memory{} }

func (m *memory) flags(f *flag.FlagSet) {
	f.IntVar(&m.messages, "messages", 20_000, "messages of the large backlog; the small one has a tenth")
	f.IntVar(&m.bytes, "bytes", 10<<10, "bytes of each message")
	f.IntVar(&m.large, "large", 8, "further messages of about 4 MiB")
	f.Float64Var(&m.seconds, "seconds", 25, "how long each backlog is drained at most")
}

func (m *memory) validate() error {
	if m.messages < 10 || m.bytes < 4<<10 || m.bytes > 1<<20 || m.large < 0 || m.seconds <= 0 {
		return errors.New("messages: want at least 10; bytes: 4 KiB to 1 MiB; large: not below 0; seconds: above 0")
	}
	return nil
}

// memoryRun is one backlog.
type memoryRun struct {
	Messages int     `json:"messages"`
	Bytes    int64   `json:"bytes"` // of all messages
	Counted  int64   `json:"counted"`
	Peak     float64 `json:"peak_rss_mb"`
	Usual    float64 `json:"median_rss_mb"`
}

func (m *memory) measure(ctx context.Context, w io.Writer) (*report, error) {
	if _, err := residentPeak(os.Getpid()); err != nil {
		return nil, fmt.Errorf("resident memory cannot be read here: %w", err)
	}
	var runs []memoryRun
	err := inTempDir(func(dir string) error {
		bin := filepath.Join(dir, "usher")
		build := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/usherhq/usher/consumer") //nolint:gosec // fixed
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build usher: %w\n%s", err, out)
		}
		for _, n := range []int{m.messages / 10, m.messages} {
			run := memoryRun{Messages: n + m.large}
			if err := inLab(ctx, func(l *lab) error { return m.one(ctx, l, bin, n, &run) }); err != nil {
				return err
			}
			runs = append(runs, run)
			fmt.Fprintf(w, "memory: %d messages, peak %.0f MB\n", run.Messages, run.Peak)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.report(runs)
}

// backlog makes n messages and the large ones, spread among them.
func (m *memory) backlog(ctx context.Context, n int) (*corpus, error) {
	// A message is about a third longer than its webhook, which is compressed and then base64.
	c, err := traffic{Events: n, Tenants: 50, Padding: max(0, m.bytes-3<<10)}.corpus(ctx)
	if err != nil || m.large == 0 {
		return c, err
	}
	large, err := traffic{Seed: 9, Events: m.large, Tenants: 50, Padding: 4<<20 - 64<<10}.corpus(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]message, 0, n+m.large)
	for i, msg := range c.messages {
		if every := max(1, n/m.large); i%every == 0 && i/every < len(large.messages) {
			all = append(all, large.messages[i/every])
		}
		all = append(all, msg)
	}
	c.messages, c.events = all, len(all)
	return c, nil
}

func (m *memory) one(ctx context.Context, l *lab, bin string, n int, run *memoryRun) error {
	c, err := m.backlog(ctx, n)
	if err != nil {
		return err
	}
	for _, msg := range c.messages {
		run.Bytes += int64(len(msg.Data))
	}
	return inSite(ctx, l.site("bench-memory"), func(cfg *config.Config, b *app.Backend) error {
		if err := settle(ctx, cfg, b, c.tenants, true); err != nil {
			return err
		}
		if err := publishAll(ctx, b.Queue.Publisher(cfg.PubSub.Topic), c.messages); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, bin, "run")
		cmd.Env = append(cmd.Environ(), "PUBSUB_EMULATOR_HOST="+cfg.PubSub.EmulatorHost,
			"FIRESTORE_EMULATOR_HOST="+cfg.Firestore.EmulatorHost, "GOOGLE_CLOUD_PROJECT="+cfg.Project,
			"USHER_CONSUMER_HEALTH_ADDR=127.0.0.1:0", "USHER_PUBSUB_STREAMS="+strconv.Itoa(streams))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start usher: %w", err)
		}
		err := m.watch(ctx, cmd.Process.Pid, cfg, b, c, run)
		_ = cmd.Process.Kill() // enough was seen; if it has ended by itself, watch has said so
		_ = cmd.Wait()
		return err
	})
}

// watch looks at a process until the backlog is drained or the time is over.
func (m *memory) watch(ctx context.Context, pid int, cfg *config.Config, b *app.Backend, c *corpus, run *memoryRun) error {
	var sizes []float64
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(time.Duration(m.seconds * float64(time.Second)))
	for i := 1; time.Now().Before(end); i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		peak, err := residentPeak(pid)
		if err != nil {
			return err
		}
		now, err := resident(pid)
		if err != nil {
			return err
		}
		run.Peak, sizes = peak, append(sizes, now)
		if i%20 == 0 { // seldom: it reads some hundred documents
			if run.Counted, err = counted(ctx, cfg, b, c, false); err != nil {
				return err
			}
			if run.Counted == int64(c.events) {
				break
			}
		}
	}
	run.Usual = median(sizes)
	var err error
	run.Counted, err = counted(ctx, cfg, b, c, false)
	return err
}

func (m *memory) report(runs []memoryRun) (*report, error) {
	cfg, err := config.Load(config.Options{})
	if err != nil {
		return nil, err
	}
	r := &report{Runs: runs, Setting: fmt.Sprintf(
		"resident memory of `usher run` while it drains messages of about %d KiB and %d of about 4 MiB from the emulators, for at most %.0f s; "+
			"it may hold %d messages and %d MiB", m.bytes>>10, m.large, m.seconds, cfg.PubSub.MaxMessages, cfg.PubSub.MaxBytes>>20)}
	t := table{columns: []string{"backlog", "MB in it", "handled", "peak RSS MB", "median RSS MB"}}
	for _, run := range runs {
		t.add(strconv.Itoa(run.Messages), figure(float64(run.Bytes)/1e6), strconv.FormatInt(run.Counted, 10),
			figure(run.Peak), figure(run.Usual))
		r.Targets = append(r.Targets, atMost(fmt.Sprintf("peak RSS with %d messages, MB", run.Messages), run.Peak, 150, 0))
	}
	r.Tables = []table{t}
	return r, nil
}

// residentPeak is the largest resident memory a process has had, in MB. Only Linux says.
func residentPeak(pid int) (float64, error) { return statusLine(pid, "VmHWM:") }

// resident is the memory that a process has now, in MB.
func resident(pid int) (float64, error) { return statusLine(pid, "VmRSS:") }

func statusLine(pid int, name string) (float64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		return kib * 1024 / 1e6, err
	}
	return 0, errors.New("no " + name + " in the process's status")
}
