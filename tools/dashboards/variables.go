package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// fromPrometheus refers to the data source that the variable selects.
func fromPrometheus() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}
}

// fromJaeger refers to the Jaeger of datasources.yml.
func fromJaeger() common.DataSourceRef {
	return common.DataSourceRef{Type: new("jaeger"), Uid: new("jaeger")}
}

// alerts is the annotation that every dashboard of Grafana has. The SDK's builder
// of annotations would move their switches into a menu.
func alerts() cog.Builder[dashboard.AnnotationQuery] {
	return literal[dashboard.AnnotationQuery]{dashboard.AnnotationQuery{
		Name: "Annotations & Alerts", Type: new("dashboard"), BuiltIn: new(1.0), IconColor: "rgba(0, 211, 255, 1)",
		Datasource: &common.DataSourceRef{Type: new("grafana"), Uid: new("-- Grafana --")},
		Enable:     true, Hide: new(true),
	}}
}

// restarts marks where a gateway started.
func restarts() cog.Builder[dashboard.AnnotationQuery] {
	return literal[dashboard.AnnotationQuery]{dashboard.AnnotationQuery{
		Name: "Restarts", Datasource: new(fromPrometheus()), IconColor: "blue", Enable: true,
		Expr:        new("changes(" + metric("process_start_time_seconds") + "[$__rate_interval]) > 0"),
		TitleFormat: new("Gateway restarted"), TextFormat: new("{{instance}}"),
	}}
}

// variables returns what all dashboards have, and the text box of this one. Where
// one request is shown they are hidden: it only passes them on.
func (b board) variables() []dashboard.VariableModel {
	hide := dashboard.VariableHideDontHide
	if b.oneRequest {
		hide = dashboard.VariableHideHideVariable
	}
	job := choice("job", "Job", "Scrape jobs of gateways.", "label_values(gateway_degraded, job)")
	instance := choice("instance", "Instance", "Gateways of the job.", `label_values(gateway_degraded{job=~"$job"}, instance)`)
	service := choice("service", "Service", "The gateways' service.name, under which Jaeger has their traces.",
		`label_values(target_info{job=~"$job"}, service_name)`)
	job.Hide, instance.Hide = &hide, &hide
	// The links need exactly one service, and nobody has to choose it.
	service.Hide = new(dashboard.VariableHideHideVariable)
	service.Multi, service.IncludeAll = new(false), new(false)
	service.Current = &dashboard.VariableOption{Text: single("tyk_proxy"), Value: single("tyk_proxy")}
	list := []dashboard.VariableModel{dataSource(hide), job, service, instance}
	if b.key != nil {
		list = append(list, *b.key)
	}
	return list
}

func dataSource(hide dashboard.VariableHide) dashboard.VariableModel {
	return dashboard.VariableModel{
		Type: dashboard.VariableTypeDatasource, Name: "datasource", Label: new("Data source"),
		Description: new("The Prometheus that scrapes the gateways."), Hide: &hide,
		Query:   &dashboard.StringOrMap{String: new("prometheus")},
		Current: &dashboard.VariableOption{Text: single("Prometheus"), Value: single("prometheus")},
		Refresh: new(dashboard.VariableRefreshOnDashboardLoad), Multi: new(false), IncludeAll: new(false),
	}
}

// choice is a variable of which one, several or all values can be selected.
func choice(name, label, description, query string) dashboard.VariableModel {
	all := func(s string) dashboard.StringOrArrayOfString {
		return dashboard.StringOrArrayOfString{ArrayOfString: []string{s}}
	}
	return dashboard.VariableModel{
		Type: dashboard.VariableTypeQuery, Name: name, Label: &label, Description: &description,
		Datasource: new(fromPrometheus()),
		// 1 is Grafana's type of a query for the values of a label.
		Query:   &dashboard.StringOrMap{Map: map[string]any{"qryType": 1, "query": query, "refId": name}},
		Current: &dashboard.VariableOption{Text: all("All"), Value: all("$__all")},
		Refresh: new(dashboard.VariableRefreshOnTimeRangeChanged), Sort: new(dashboard.VariableSortAlphabeticalAsc),
		Multi: new(true), IncludeAll: new(true),
	}
}

// textBox is a variable that a person or a link fills in.
func textBox(name, label, description string) *dashboard.VariableModel {
	return &dashboard.VariableModel{
		Type: dashboard.VariableTypeTextbox, Name: name, Label: &label, Description: &description,
		Hide: new(dashboard.VariableHideDontHide), Query: &dashboard.StringOrMap{String: new("")},
		Current: &dashboard.VariableOption{Text: single(""), Value: single("")},
	}
}

func single(s string) dashboard.StringOrArrayOfString {
	return dashboard.StringOrArrayOfString{String: &s}
}
