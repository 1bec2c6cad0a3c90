package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"tyk_proxy/app"
	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/names"
)

// reality is the telemetry of a small mixed run.
type reality struct {
	metrics string
	spans   []*tracev1.Span
	lines   []map[string]any // of decisions
}

func observe(t *testing.T) reality {
	t.Helper()
	c, spans := newCanaries(), startTap(t)
	redis, client := c.secretRedis(t)
	cfg := c.config(redis.Addr, indiscreet(t), spans.url)
	p := start(t, cfg)
	key := c["api key"]
	token := func(key string) string { return "Bearer " + c.jwt(t, key, c["JWT secret"], time.Now().Add(time.Hour)) }
	good := token(key)
	for _, answer := range []string{"", "500", "close", "hang", "abort"} {
		c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", good, "X-Answer", answer)
	}
	for _, authorization := range []string{"none", token(key + "-unknown"), token(key + "-bad"), token(key + "-spent")} {
		c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", authorization)
	}
	for range 30 { // more than the log has lines for
		c.send(t, p.base, http.MethodGet, "/other", "Authorization", good)
	}
	for _, command := range []string{"ACL SETUSER default -evalsha", "ACL SETUSER default -getrange"} {
		if err := client.Do(t.Context(), words(command)...).Err(); err != nil {
			t.Fatal(err)
		}
		c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", good)
	}
	eventually(t, askTimeout, "the log reports the omitted lines", func() bool {
		return strings.Contains(p.stderr.String(), "gateway.log.suppressed")
	})
	r := reality{metrics: askURL(t, http.MethodGet, p.metrics+"/metrics", "").body}
	p.signal(os.Interrupt)
	p.wantExit(0, stopWithin)
	r.spans = spans.spans
	for line := range strings.Lines(p.stderr.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue
		}
		if message := fields["msg"]; message == names.MessageDecision || message == names.MessageSuppressed {
			r.lines = append(r.lines, fields)
		}
	}
	return r
}

// The catalogue is the source of the documentation, the dashboards and the
// alerts. It must list everything that the gateway reports, and nothing else.
func TestCatalogueMatchesTelemetry(t *testing.T) {
	r := observe(t)
	t.Run("metrics", r.compareMetrics)
	t.Run("spans", r.compareSpans)
	t.Run("attributes", r.compareAttributes)
}

func (r reality) compareMetrics(t *testing.T) {
	kinds, labels := map[string]string{}, map[string]map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(r.metrics, -1) {
		kinds[found[1]], labels[found[1]] = found[2], map[string]bool{}
	}
	pair := regexp.MustCompile(`(\w+)="`)
	for _, found := range regexp.MustCompile(`(?m)^(\w+)\{(.*)\} \S+$`).FindAllStringSubmatch(r.metrics, -1) {
		name := found[1]
		if _, ok := kinds[name]; !ok {
			name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		}
		for _, label := range pair.FindAllStringSubmatch(found[2], -1) {
			if label[1] != "le" {
				labels[name][label[1]] = true
			}
		}
	}
	catalogued := map[string]bool{"target_info": true}
	for _, m := range names.Catalogue() {
		name := m.PrometheusName()
		catalogued[name] = true
		want := map[names.Kind]string{
			names.KindCounter: "counter", names.KindUpDownCounter: "gauge",
			names.KindGauge: "gauge", names.KindHistogram: "histogram",
		}[m.Kind]
		if kinds[name] != want {
			t.Errorf("%s is scraped as %q, want %s", name, kinds[name], want)
		}
		if help := "\n# HELP " + name + " " + m.Meaning + "\n"; !strings.Contains("\n"+r.metrics, help) {
			t.Errorf("%s is not described as in the catalogue", name)
		}
		wanted := map[string]bool{}
		for _, key := range m.Labels {
			wanted[names.LabelName(key)] = true
		}
		if !maps.Equal(labels[name], wanted) {
			t.Errorf("%s has labels %v, want %v", name, labels[name], wanted)
		}
	}
	for name := range kinds {
		if !catalogued[name] && !regexp.MustCompile(`^(go|process|promhttp)_`).MatchString(name) {
			t.Errorf("%s is scraped and not in the catalogue", name)
		}
	}
	info := regexp.MustCompile(`(?m)^target_info\{.*$`).FindString(r.metrics)
	for _, label := range []string{`service_name="tyk_proxy"`, `service_version="` + app.Version + `"`} {
		if !strings.Contains(info, label) {
			t.Errorf("target_info %q lacks %s", info, label)
		}
	}
}

// entry returns the row of the catalogue for a span.
func entry(span *tracev1.Span) string {
	switch {
	case span.GetKind() == tracev1.Span_SPAN_KIND_SERVER:
		return "{method} {route}, or {method}"
	case span.GetKind() == tracev1.Span_SPAN_KIND_CLIENT && strings.HasPrefix(span.GetName(), "HTTP "):
		return "HTTP {method}"
	case span.GetKind() == tracev1.Span_SPAN_KIND_CLIENT:
		return "{redis command}"
	}
	return span.GetName()
}

func keysOf(all []*commonv1.KeyValue) []string {
	keys := make([]string, len(all))
	for i, kv := range all {
		keys[i] = kv.GetKey()
	}
	return keys
}

// failsByBugOnly reports whether a span is that of a stage which has no reason
// of its own with the verdict fail.
func failsByBugOnly(span string) bool {
	stage := strings.TrimPrefix(span, names.SpanPrefix)
	return slices.Contains(middleware.StageNames(), stage) && !slices.ContainsFunc(middleware.Reasons(), func(r middleware.Reason) bool {
		return r.Info().Stage == stage && r.Info().Verdict == middleware.Fail
	})
}

func (r reality) compareSpans(t *testing.T) {
	seen := map[string]map[string]bool{} // by span: its attributes
	parents := map[string]string{}
	for _, span := range r.spans {
		parents[string(span.GetSpanId())] = span.GetName()
		if seen[entry(span)] == nil {
			seen[entry(span)] = map[string]bool{}
		}
		for _, key := range keysOf(span.GetAttributes()) {
			seen[entry(span)][key] = true
		}
	}
	known := map[string]names.Span{}
	for _, s := range names.Spans() {
		known[s.Name] = s
		if seen[s.Name] == nil {
			t.Errorf("no span %s was exported", s.Name)
		}
		for _, key := range s.Attributes {
			never := key == "error.type" && failsByBugOnly(s.Name)
			if !seen[s.Name][string(key)] && !never {
				t.Errorf("no span %s has the attribute %s", s.Name, key)
			}
		}
	}
	for _, span := range r.spans {
		s, ok := known[entry(span)]
		if !ok {
			t.Errorf("span %s is not in the catalogue", span.GetName())
			continue
		}
		if kind := strings.TrimPrefix(span.GetKind().String(), "SPAN_KIND_"); kind != s.SpanKind {
			t.Errorf("span %s is of kind %s, want %s", span.GetName(), kind, s.SpanKind)
		}
		for _, key := range keysOf(span.GetAttributes()) {
			own := strings.HasPrefix(key, "gateway.")
			if own && !slices.ContainsFunc(s.Attributes, func(known attribute.Key) bool { return string(known) == key }) {
				t.Errorf("span %s has the attribute %s, which the catalogue does not have", span.GetName(), key)
			}
		}
		parent := parents[string(span.GetParentSpanId())]
		if s.SpanKind == "CLIENT" && !strings.Contains(s.Parent, parent) || s.SpanKind == "SERVER" && parent != "" {
			t.Errorf("span %s has parent %q, want %s", span.GetName(), parent, s.Parent)
		}
	}
}

func (r reality) compareAttributes(t *testing.T) {
	const spans, lines, metrics = "spans", "log lines", "metrics"
	seen := map[string]map[string]bool{}
	note := func(where string, keys ...string) {
		for _, key := range keys {
			if seen[key] == nil {
				seen[key] = map[string]bool{}
			}
			seen[key][where] = true
		}
	}
	for _, span := range r.spans {
		note(spans, keysOf(span.GetAttributes())...)
		if n := len(span.GetEvents()); n > 0 {
			t.Errorf("span %s has %d events, which the catalogue does not have", span.GetName(), n)
		}
	}
	for _, line := range r.lines {
		note(lines, slices.Collect(maps.Keys(line))...)
	}
	for _, found := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(r.metrics, -1) {
		note(metrics, strings.ReplaceAll(found[1], "gateway_", "gateway."))
	}
	rare := []string{"stack", string(names.AttrLogDropped)} // of a bug's line, and after one that was lost
	known := map[string]string{}
	for _, a := range names.Attributes() {
		known[string(a.Key)] = a.On
		for _, where := range []string{spans, lines, metrics} {
			key := string(a.Key)
			if where == metrics {
				key = "gateway." + strings.ReplaceAll(strings.TrimPrefix(key, "gateway."), ".", "_")
			}
			if said := strings.Contains(a.On, where); said != seen[key][where] && !slices.Contains(rare, string(a.Key)) {
				t.Errorf("%s occurs on %s: %t; the catalogue says %q", a.Key, where, !said, a.On)
			}
		}
	}
	library := map[string]bool{"level": true, "msg": true, "time": true}
	for key, where := range seen {
		conventional := strings.HasPrefix(key, "http.")
		if where[lines] && known[key] == "" && !library[key] && !conventional {
			t.Errorf("log lines have %s, which the catalogue does not have", key)
		}
		if strings.HasPrefix(key, "gateway.") && !where[metrics] && known[key] == "" {
			t.Errorf("%s is on %s and not in the catalogue", key, fmt.Sprint(slices.Collect(maps.Keys(where))))
		}
	}
}
