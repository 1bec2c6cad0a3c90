package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// reasonLabels tell why a stage decided as it did.
const reasonLabels = "gateway_stage, gateway_verdict, gateway_reason"

// reasons is a table of decisions by [reasonLabels]. A reason links to its traces.
func reasons(title, description, expr string) *table.PanelBuilder {
	return cellTable(title, description, units.Short, cells("", expr)).SortBy(highestFirst("Decisions")).
		WithTransformation(organized(map[string]string{
			"gateway_stage": "Stage", "gateway_verdict": "Verdict", "gateway_reason": "Reason", "Value": "Decisions",
		}, "gateway_stage", "gateway_verdict", "gateway_reason", "Value")).
		OverrideByName("Reason", []dashboard.DynamicConfigValue{
			property("links", []dashboard.DashboardLink{traces("Traces with this reason", "$(__value.raw)")}),
		})
}

// shown gives a value a text and a color.
func shown(index int32, text, color string) dashboard.ValueMappingResult {
	return dashboard.ValueMappingResult{Index: &index, Text: &text, Color: &color}
}

func mapped(options map[string]dashboard.ValueMappingResult) dashboard.ValueMapping {
	return dashboard.ValueMapping{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}
}

// okOrDegraded shows the state of a stage.
func okOrDegraded() dashboard.ValueMapping {
	return mapped(map[string]dashboard.ValueMappingResult{"0": shown(0, "ok", "green"), "1": shown(1, "degraded", "red")})
}

// verdicts shows the verdicts in their colors.
func verdicts() dashboard.ValueMapping {
	return mapped(map[string]dashboard.ValueMappingResult{
		"allow": shown(0, "allow", "green"), "deny": shown(1, "deny", "orange"),
		"fail": shown(2, "fail", "red"), "bypass": shown(3, "bypass", "purple"),
	})
}

// coloredText shows a cell's text in the color of its thresholds or mapping.
func coloredText() dashboard.DynamicConfigValue {
	return property("custom.cellOptions", map[string]any{"type": "color-text"})
}
