package main

import (
	"bytes"
	"encoding/json"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
)

// board is one dashboard.
type board struct {
	name        string // of the file, and of the uid after "tyk-proxy-"
	title       string
	description string
	tag         string
	key         *dashboard.VariableModel // a text box beside the common variables, or nil
	oneRequest  bool                     // shows a single request: no refresh, no restarts, no choice of instances
	rows        []row
}

// row is a line of panels under a title. Without a title the panels follow those
// of the row before. Panels break into a new line when 24 columns are full.
type row struct {
	title  string
	width  uint32 // of each panel that does not set its own
	height uint32
	panels panels
}

type panels = []cog.Builder[dashboard.Panel]

// encode returns the dashboard as JSON, with keys in alphabetical order, as
// Grafana writes it.
func (b board) encode() ([]byte, error) {
	//nolint:staticcheck // SDK v0.0.22 prefers dashboardv2, a format that our provisioning and tests do not read.
	d := dashboard.NewDashboardBuilder(b.title).
		Uid(uid(b.name)).Description(b.description).Tags([]string{"tyk_proxy", b.tag}).
		Time("now-30m", "now").Tooltip(dashboard.DashboardCursorSyncCrosshair).Refresh("10s").
		Annotation(alerts())
	if b.oneRequest {
		d.Refresh("")
	} else {
		d.Annotation(restarts())
	}
	for _, l := range boardLinks(b.name) {
		d.Link(l)
	}
	for _, v := range b.variables() {
		d.WithVariable(literal[dashboard.VariableModel]{v})
	}
	id := uint32(0)
	for _, r := range b.rows {
		if r.title != "" {
			id++
			d.WithRow(dashboard.NewRowBuilder(r.title).Id(id))
		}
		for _, p := range r.panels {
			id++
			d.WithPanel(placed{p, id, r.width, r.height})
		}
	}
	built, err := d.Build()
	if err != nil {
		return nil, err
	}
	return canonical(built)
}

// canonical encodes a value with sorted keys, two spaces and a newline at the
// end. The SDK's types have their keys in an order of their own.
func canonical(value any) ([]byte, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var keys any
	if err := decoder.Decode(&keys); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(keys)
	return out.Bytes(), err
}

// placed gives a panel its id and its size. The dashboard's builder gives it its
// position.
type placed struct {
	cog.Builder[dashboard.Panel]
	id, width, height uint32
}

// Build implements [cog.Builder].
func (p placed) Build() (dashboard.Panel, error) {
	panel, err := p.Builder.Build()
	if err != nil {
		return panel, err
	}
	panel.Id = &p.id
	if panel.GridPos != nil {
		p.width = panel.GridPos.W
	}
	panel.GridPos = &dashboard.GridPos{W: p.width, H: p.height}
	// The SDK sets both to what Grafana assumes without them.
	panel.RepeatDirection, panel.Transparent = nil, nil
	if options, ok := panel.Options.(*table.Options); ok {
		options.Footer = nil // the SDK's is incomplete: its reducer is null
	}
	return panel, nil
}

// literal is a builder of a value that is complete. The SDK's builders take
// builders only, and some of those set fields that a dashboard has no use for.
type literal[T any] struct{ value T }

// Build implements [cog.Builder].
func (l literal[T]) Build() (T, error) { return l.value, nil }
