package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is one figure.
type Row struct {
	Claim   string // what was measured
	Value   string // the figure, with its unit
	Against string // what it is compared to, and that one's figure; "" for nothing
	Ratio   string // of the two
	Budget  string // what the figure is held to; "" for nothing
	OK      bool   // the budget is met, or there is none
	Part    string // which part of the program measured it; set by main
	Machine string // name of the machine; set by main
}

// verdict says plainly what became of the budget.
func (r Row) verdict() string {
	switch {
	case r.Budget == "":
		return ""
	case r.OK:
		return "met"
	}
	return "NOT MET"
}

// compare makes a row of two samples: the ratio of their medians must be at most budget. A budget of 0 is none.
func compare(claim string, values []time.Duration, against string, others []time.Duration, budget float64) Row {
	ratio := float64(median(values)) / float64(median(others))
	r := Row{
		Claim: claim, Value: spread(values), Against: against + ": " + spread(others), Ratio: ratioText(ratio),
		OK: budget == 0 || ratio <= budget,
	}
	if budget != 0 {
		r.Budget = "≤ " + ratioText(budget)
	}
	return r
}

// ratioText writes what is much smaller than one as a fraction.
func ratioText(ratio float64) string {
	if ratio > 0 && ratio < 0.5 {
		return "1/" + strings.TrimSuffix(fmt.Sprintf("%.1f", 1/ratio), ".0")
	}
	return fmt.Sprintf("%.2f ×", ratio)
}

// median of a sample that is not empty.
func median(values []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// spread writes a sample as its median, least and greatest value.
func spread(values []time.Duration) string {
	return fmt.Sprintf("%s (%s to %s, n=%d)", short(median(values)), short(slices.Min(values)), short(slices.Max(values)), len(values))
}

// short writes a time with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f µs", d.Seconds()*1e6)
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// printRows writes rows for a terminal.
func printRows(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	machine := ""
	for _, r := range rows {
		if r.Machine != machine {
			machine = r.Machine
			fmt.Fprintf(t, "\n%s\n", machine)
		}
		fmt.Fprintf(t, "  %s\t%s\n", r.Claim, r.Value)
		if r.Against != "" {
			fmt.Fprintf(t, "    against %s\t%s\n", r.Against, r.Ratio)
		}
		if r.Budget != "" {
			fmt.Fprintf(t, "    budget %s\t%s\n", r.Budget, r.verdict())
		}
	}
	return t.Flush()
}

// printMarkdown writes machines and rows as the tables of docs/performance.md have them.
func printMarkdown(w io.Writer, machines []Machine, rows []Row, date time.Time) {
	for _, m := range machines {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", m.Name, m.Processor, m.Memory, m.Kernel, m.KVM)
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		figure := r.Value
		if r.Against != "" {
			figure = fmt.Sprintf("**%s**: %s, against %s", r.Ratio, r.Value, r.Against)
		}
		if r.Budget != "" {
			figure += "; " + r.verdict()
		}
		fmt.Fprintf(w, "| %s | %s | %s | `bin/bench -only %s` | %s | %s |\n",
			r.Claim, r.Budget, figure, r.Part, r.Machine, date.UTC().Format(time.DateOnly))
	}
}
