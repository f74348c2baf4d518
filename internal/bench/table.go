package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// printTable prints the median of each contender, and its CPU and speed beside the loop's of the same round.
func printTable(w io.Writer, o options, drains []drain) error {
	fmt.Fprintf(w, "\n%d events over %d tenants (Zipf), %.0f %% published twice, %d rounds, medians; CPU-s are per 1,000 messages\n\n",
		o.events, o.tenants, 100*o.duplicates, o.rounds)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "consumer\tevents/s\tCPU-s\tof loop-20\tspeed x\temulator CPU-s\tcommits\twrites\treads\tcounted\t")
	for _, c := range contenders {
		mine := of(drains, c.name)
		if len(mine) == 0 {
			continue
		}
		per := func(f func(drain) float64) float64 {
			return median(mine, func(d drain) float64 { return f(d) / float64(d.Messages) })
		}
		counted := fmt.Sprintf("%d of %d", mine[0].Counted, mine[0].Want)
		if c.name == "floor" {
			counted = "-"
		}
		fmt.Fprintf(tw, "%s\t%.0f\t%.3f\t%s\t%s\t%.3f\t%.3f\t%.2f\t%.2f\t%s\t\n", c.name,
			median(mine, func(d drain) float64 { return float64(d.Messages) / d.Seconds }),
			1000*per(func(d drain) float64 { return d.CPU }),
			ratio(drains, mine, func(d drain) float64 { return d.CPU / float64(d.Messages) }),
			ratio(drains, mine, func(d drain) float64 { return float64(d.Messages) / d.Seconds }),
			1000*per(func(d drain) float64 { return d.Emulator }),
			per(func(d drain) float64 { return float64(d.Commits) }),
			per(func(d drain) float64 { return float64(d.Writes) }),
			per(func(d drain) float64 { return float64(d.Reads) }), counted)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, c := range contenders {
		fmt.Fprintf(w, "%-14s %s\n", c.name, c.what)
	}
	_, err := fmt.Fprintln(w, "\ncommits, writes and reads are per message; counted is the usage counters' sum against the distinct events")
	return err
}

func of(drains []drain, name string) []drain {
	var out []drain
	for _, d := range drains {
		if d.Contender == name {
			out = append(out, d)
		}
	}
	return out
}

func median(ds []drain, f func(drain) float64) float64 {
	v := make([]float64, len(ds))
	for i, d := range ds {
		v[i] = f(d)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// ratio is the median over rounds of a figure divided by the loop's of the same round.
func ratio(drains, mine []drain, f func(drain) float64) string {
	base := map[int]float64{}
	for _, d := range of(drains, "loop-20") {
		base[d.Round] = f(d)
	}
	var v []float64
	for _, d := range mine {
		if b := base[d.Round]; b > 0 {
			v = append(v, f(d)/b)
		}
	}
	if len(v) == 0 {
		return "-"
	}
	slices.Sort(v)
	return fmt.Sprintf("%.2f", v[len(v)/2])
}
