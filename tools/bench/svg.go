package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// A bar is one bar of the chart.
type bar struct {
	label string
	value float64 // the bar's length
	note  string  // written after it
	base  bool    // the bar that the others are compared with
}

const (
	barHeight   = 22
	barStep     = 32
	chartTop    = 56
	chartLeft   = 330
	chartLength = 380
	chartWidth  = 920
)

// style gives a chart that is read on a light and on a dark page.
const style = `
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px } .small { font-size: 12px; fill: #57606a }
  .page { fill: #ffffff } .bar { fill: #2f6fb7 } .base { fill: #8c959f }
  .line { stroke: #57606a; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .page { fill: #0d1117 }
    .bar { fill: #58a6ff } .base { fill: #6e7681 } .line { stroke: #9198a1 }
  }
`

// chart draws bars as an SVG document, with a line where BASE's bar ends.
func chart(title, subtitle string, bars []bar) string {
	longest, base := 1.0, 0.0
	for _, b := range bars {
		longest = max(longest, b.value)
		if b.base {
			base = b.value
		}
	}
	height := chartTop + barStep*len(bars) + 14
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		chartWidth, height, chartWidth, height, escape(title))
	fmt.Fprintf(&out, "<style>%s</style>\n<rect class=\"page\" width=\"100%%\" height=\"100%%\" rx=\"6\"/>\n", style)
	fmt.Fprintf(&out, `<text class="title" x="16" y="24">%s</text>`+"\n", escape(title))
	fmt.Fprintf(&out, `<text class="small" x="16" y="43">%s</text>`+"\n", escape(subtitle))
	for i, b := range bars {
		y, length := chartTop+barStep*i, b.value/longest*chartLength
		class := "bar"
		if b.base {
			class = "base"
			fmt.Fprintf(&out, `<line class="line" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n",
				chartLeft+length, chartLeft+length, chartTop-4, height-10)
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLeft-10, y+16, escape(b.label))
		fmt.Fprintf(&out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, chartLeft, y, length, barHeight)
		// A note stands on the right of BASE's line, also where the bar is shorter.
		after := chartLeft + max(b.value, base)/longest*chartLength + 8
		fmt.Fprintf(&out, `<text class="small" x="%.1f" y="%d">%s</text>`+"\n", after, y+15, escape(b.note))
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
