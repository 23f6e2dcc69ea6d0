package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The picture's size and margins, in pixels.
const (
	svgWidth, svgHeight = 720, 420
	svgLeft, svgRight   = 70, 20
	svgTop, svgBottom   = 50, 50
)

var svgColours = []string{"#1f77b4", "#d62728", "#2ca02c"}

// drawCurves writes an SVG of what VMs cost by their number.
func drawCurves(w io.Writer, title string, curves []curve) error {
	most, top := 1, int64(1)
	for _, c := range curves {
		for _, p := range c.Points {
			most, top = max(most, p.VMs), max(top, p.Bytes)
		}
	}
	topMiB := niceCeiling(float64(top) / (1 << 20))
	x := func(vms int) float64 {
		return svgLeft + float64(vms)/float64(most)*(svgWidth-svgLeft-svgRight)
	}
	y := func(mib float64) float64 { return svgHeight - svgBottom - mib/topMiB*(svgHeight-svgTop-svgBottom) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="20" font-size="15">%s</text>`+"\n", svgLeft, escape(title))
	for i := range 6 {
		at := topMiB * float64(i) / 5
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			svgLeft, svgWidth-svgRight, y(at), y(at), svgLeft-8, y(at)+4, at)
		vms := most * i / 5
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(vms), svgHeight-svgBottom+18, vms)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">VMs</text><text x="%d" y="40">MiB of the host's memory, by MemAvailable</text>`+"\n",
		(svgWidth+svgLeft)/2, svgHeight-12, svgLeft)
	for i, c := range curves {
		colour := svgColours[i%len(svgColours)]
		var line strings.Builder
		fmt.Fprintf(&line, "%.1f,%.1f", x(0), y(0))
		for _, p := range c.Points {
			fmt.Fprintf(&line, " %.1f,%.1f", x(p.VMs), y(float64(p.Bytes)/(1<<20)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x(p.VMs), y(float64(p.Bytes)/(1<<20)), colour)
		}
		fmt.Fprintf(&b, "\n"+`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", line.String(), colour)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			svgWidth-330, svgTop+10+20*i, colour, svgWidth-312, svgTop+21+20*i, escape(c.Name))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// niceCeiling is the next 1, 2 or 5 times a power of ten.
func niceCeiling(v float64) float64 {
	for step := 1.0; ; step *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if n*step >= v {
				return n * step
			}
		}
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
