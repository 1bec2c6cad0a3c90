package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/text"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// base is the color below the first threshold.
func base(color string) dashboard.Threshold { return dashboard.Threshold{Color: color} }

// from is the color of values from a threshold on.
func from(value float64, color string) dashboard.Threshold {
	return dashboard.Threshold{Value: &value, Color: color}
}

// thresholds are never left out: Grafana's default makes 80 and more red.
func thresholds(steps ...dashboard.Threshold) cog.Builder[dashboard.ThresholdsConfig] {
	return literal[dashboard.ThresholdsConfig]{dashboard.ThresholdsConfig{Mode: dashboard.ThresholdsModeAbsolute, Steps: steps}}
}

func colors(mode dashboard.FieldColorModeId) cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(mode)
}

// gap shows NaN, which is what [orGap] gives, as a dash.
func gap() dashboard.ValueMapping {
	return dashboard.ValueMapping{SpecialValueMap: &dashboard.SpecialValueMap{
		Type: dashboard.MappingTypeSpecialValue,
		Options: dashboard.DashboardSpecialValueMapOptions{
			Match: dashboard.SpecialValueMatchNaN, Result: dashboard.ValueMappingResult{Text: new("–")},
		},
	}}
}

// number is one number. Without thresholds it has no color.
func number(title, description, unit, expr string, steps ...dashboard.Threshold) *stat.PanelBuilder {
	b := stat.NewPanelBuilder().Title(title).Description(description).Datasource(fromPrometheus()).
		Targets(targets(graph(title, expr))).Unit(unit).Mappings([]dashboard.ValueMapping{gap()}).
		ColorScheme(colors(dashboard.FieldColorModeIdThresholds)).Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	if len(steps) == 0 {
		return b.ColorMode(common.BigValueColorModeNone).Thresholds(thresholds(base("text")))
	}
	return b.Thresholds(thresholds(steps...))
}

// series is a graph over time. Its methods come before those of the SDK's
// builder, which return that builder.
type series struct{ *timeseries.PanelBuilder }

// lines is a graph of lines that start at 0.
func lines(title, description, unit string, queries ...*prometheus.DataqueryBuilder) series {
	s := signed(title, description, unit, queries...)
	s.Min(0)
	return s
}

// signed is a graph of lines that may be below 0.
func signed(title, description, unit string, queries ...*prometheus.DataqueryBuilder) series {
	s := series{timeseries.NewPanelBuilder().Title(title).Description(description).Datasource(fromPrometheus()).
		Targets(targets(queries...)).Unit(unit).Mappings([]dashboard.ValueMapping{gap()}).
		ColorScheme(colors(dashboard.FieldColorModeIdPaletteClassic)).Thresholds(thresholds(base("text"))).
		DrawStyle(common.GraphDrawStyleLine).LineInterpolation(common.LineInterpolationLinear).LineWidth(1).
		ShowPoints(common.VisibilityModeAuto).PointSize(4).SpanNulls(common.BoolOrFloat64{Bool: new(false)}).
		FillOpacity(8).Tooltip(tooltip(false))}
	return s.listed("lastNotNull", "max")
}

// stacked is a graph of areas that add up.
func stacked(title, description, unit string, queries ...*prometheus.DataqueryBuilder) series {
	s := lines(title, description, unit, queries...)
	s.FillOpacity(30).Tooltip(tooltip(true)).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
	return s
}

// bars is a stacked graph of events that are rare.
func bars(title, description, unit string, queries ...*prometheus.DataqueryBuilder) series {
	s := stacked(title, description, unit, queries...)
	s.DrawStyle(common.GraphDrawStyleBars).FillOpacity(60)
	return s
}

func tooltip(hideZeros bool) cog.Builder[common.VizTooltipOptions] {
	return common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).
		Sort(common.SortOrderDescending).HideZeros(hideZeros)
}

// listed shows calculations in the legend beside the names.
func (s series) listed(calculations ...string) series {
	s.Legend(legend(common.LegendDisplayModeList, calculations))
	return s
}

// tabled makes the legend a table.
func (s series) tabled(calculations ...string) series {
	s.Legend(legend(common.LegendDisplayModeTable, calculations))
	return s
}

// sorted makes the legend a table with the highest first. by is the name of a
// column as Grafana shows it.
func (s series) sorted(by string, calculations ...string) series {
	s.Legend(legend(common.LegendDisplayModeTable, calculations).SortBy(by).SortDesc(true))
	return s
}

func legend(mode common.LegendDisplayMode, calculations []string) *common.VizLegendOptionsBuilder {
	return common.NewVizLegendOptionsBuilder().DisplayMode(mode).Placement(common.LegendPlacementBottom).
		ShowLegend(true).Calcs(calculations)
}

// dashed draws thresholds as lines.
func (s series) dashed(steps ...dashboard.Threshold) series {
	s.Thresholds(thresholds(append([]dashboard.Threshold{base("transparent")}, steps...)...)).
		ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	return s
}

// paint gives a series, or those that match a regular expression, a color.
type paint struct{ name, color string }

func (s series) painted(paints ...paint) series {
	for _, p := range paints {
		properties := []dashboard.DynamicConfigValue{fixed(p.color)}
		if p.name[0] == '/' {
			s.OverrideByRegexp(p.name, properties)
		} else {
			s.OverrideByName(p.name, properties)
		}
	}
	return s
}

// statuses paints a graph by HTTP status.
func (s series) statuses() series {
	return s.painted(paint{"/^2../", "green"}, paint{"/^3../", "blue"}, paint{"429", "yellow"},
		paint{"401", "orange"}, paint{"403", "dark-orange"}, paint{"/^5../", "red"})
}

// quantiles is a graph of [p50p95p99].
func quantiles(title, description string, queries []*prometheus.DataqueryBuilder) series {
	return lines(title, description, units.Seconds, queries...).
		painted(paint{"p50", "green"}, paint{"p95", "orange"}, paint{"p99", "red"})
}

// property is what an override sets.
func property(id string, value any) dashboard.DynamicConfigValue {
	return dashboard.DynamicConfigValue{Id: id, Value: value}
}

func fixed(color string) dashboard.DynamicConfigValue {
	return property("color", map[string]any{"mode": "fixed", "fixedColor": color})
}

// distribution is a heatmap of a histogram.
func distribution(title, description, unit, histogram string, matchers ...string) *heatmap.PanelBuilder {
	expr := sumBy("le", "increase("+metric(histogram+"_bucket", matchers...)+"[$__rate_interval])") +
		` or on() label_replace(vector(0), "le", "+Inf", "", "")`
	return heatmap.NewPanelBuilder().Title(title).Description(description).Datasource(fromPrometheus()).
		Targets(targets(traced("{{le}}", expr).Format(prometheus.PromQueryFormatHeatmap))).
		Unit(unit).Thresholds(thresholds(base("text"))).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Oranges").
			Fill("dark-orange").Scale(heatmap.HeatmapColorScaleExponential).Exponent(0.5).Steps(64)).
		RowsFrame(heatmap.NewRowsHeatmapOptionsBuilder().Layout(common.HeatmapCellLayoutAuto)).
		ShowValue(common.VisibilityModeNever).CellValues(heatmap.NewCellValuesBuilder().Unit(units.Short).Decimals(1)).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(unit).AxisPlacement(common.AxisPlacementLeft)).
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle).YHistogram(true).ShowColorScale(true)).
		ScaleDistribution(common.NewScaleDistributionConfigBuilder().Type(common.ScaleDistributionLinear)).
		HideFrom(common.NewHideSeriesConfigBuilder())
}

// cellTable is a table of queries to Prometheus.
func cellTable(title, description, unit string, queries ...*prometheus.DataqueryBuilder) *table.PanelBuilder {
	return emptyTable(title, description, unit).Datasource(fromPrometheus()).Targets(targets(queries...))
}

func emptyTable(title, description, unit string) *table.PanelBuilder {
	return table.NewPanelBuilder().Title(title).Description(description).Unit(unit).Thresholds(thresholds(base("text"))).
		CellOptions(common.TableCellOptions{TableAutoCellOptions: common.NewTableAutoCellOptions()}).
		Align(common.FieldTextAlignmentAuto).CellHeight(common.TableCellHeightSm)
}

// highestFirst sorts a table by a column.
func highestFirst(column string) []cog.Builder[common.TableSortByFieldState] {
	return []cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(column).Desc(true)}
}

// organized names the columns of a table, in order. It leaves out the time, and
// the value if that has no name.
func organized(names map[string]string, order ...string) dashboard.DataTransformerConfig {
	excluded := map[string]bool{"Time": true}
	if names["Value"] == "" {
		excluded["Value"] = true
	}
	options := map[string]any{"excludeByName": excluded, "renameByName": names}
	if len(order) > 0 {
		index := make(map[string]int, len(order))
		for i, column := range order {
			index[column] = i
		}
		options["indexByName"] = index
	}
	return dashboard.DataTransformerConfig{Id: "organize", Options: options}
}

// note is a panel of Markdown.
func note(title, description, content string) *text.PanelBuilder {
	return text.NewPanelBuilder().Title(title).Description(description).Mode(text.TextModeMarkdown).Content(content)
}
