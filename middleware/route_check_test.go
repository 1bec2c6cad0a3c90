package middleware

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

type routeRow struct {
	name   string
	record string // the value of allowed_routes; "" for none
	method string
	target string
	want   Reason
	route  string // what matched
}

func routeRows() []routeRow {
	const two = `["/api/v1/test","/api/v1/test2"]`
	const pub = `["/pub/*"]`
	const mixed = `["/a/*","GET /a/b/*","/a/b/c","POST /form","/*/x","/x*","relative"]`
	return slices.Concat(refusedRows(), []routeRow{
		{"exact", two, "GET", "/api/v1/test", RouteAllowed, "/api/v1/test"},
		{"exact, any method", two, "DELETE", "/api/v1/test2", RouteAllowed, "/api/v1/test2"},
		{"exact, with a query", two, "GET", "/api/v1/test?x=/other", RouteAllowed, "/api/v1/test"},
		{"exact, encoded letters", two, "GET", "/%61pi/v1/te%73t", RouteAllowed, "/api/v1/test"},
		{"allowed only in the query", two, "GET", "/other?/api/v1/test", RouteNotAllowed, ""},
		{"longer", two, "GET", "/api/v1/test3", RouteNotAllowed, ""},
		{"shorter", two, "GET", "/api/v1/tes", RouteNotAllowed, ""},
		{"below", two, "GET", "/api/v1/test/x", RouteNotAllowed, ""},
		{"trailing slash", two, "GET", "/api/v1/test/", RouteNotAllowed, ""},
		{"upper case", two, "GET", "/API/v1/test", RouteNotAllowed, ""},
		{"upper case, encoded", two, "GET", "/%41pi/v1/test", RouteNotAllowed, ""},
		{"parameters", two, "GET", "/api/v1/test;x=1", RouteNotAllowed, ""},

		{"subtree", pub, "GET", "/pub/x", RouteAllowed, "/pub/*"},
		{"deep in the subtree", pub, "GET", "/pub/x/y/z", RouteAllowed, "/pub/*"},
		{"the subtree's root", pub, "GET", "/pub/", RouteAllowed, "/pub/*"},
		{"the subtree's name", pub, "GET", "/pub", RouteNotAllowed, ""},
		{"no segment boundary", pub, "GET", "/publicity", RouteNotAllowed, ""},
		{"no segment boundary, dots", pub, "GET", "/pub../admin", RouteNotAllowed, ""},
		{"no segment boundary, encoded", pub, "GET", "/pub%2e", RouteNotAllowed, ""},
		{"subtree in upper case", pub, "GET", "/PUB/x", RouteNotAllowed, ""},
		{"out of the subtree", pub, "GET", "/pub/../admin", PathAmbiguous, ""},
		{"out of the subtree, encoded", pub, "GET", "/pub/%2e%2e/admin", PathAmbiguous, ""},
		{"everything", `["/*"]`, "GET", "/x/y", RouteAllowed, "/*"},
		{"everything, the root", `["/*"]`, "GET", "/", RouteAllowed, "/*"},

		{"most specific: exact", mixed, "GET", "/a/b/c", RouteAllowed, "/a/b/c"},
		{"most specific: long", mixed, "GET", "/a/b/d", RouteAllowed, "/a/b/*"},
		{"HEAD by GET", mixed, "HEAD", "/a/b/d", RouteAllowed, "/a/b/*"},
		{"other method, other rule", mixed, "POST", "/a/b/d", RouteAllowed, "/a/*"},
		{"its method", mixed, "POST", "/form", RouteAllowed, "/form"},
		{"not its method", mixed, "GET", "/form", RouteNotAllowed, ""},
		{"HEAD not by POST", mixed, "HEAD", "/form", RouteNotAllowed, ""},
		{"no pattern inside", mixed, "GET", "/q/x", RouteNotAllowed, ""},
		{"a star is no pattern", mixed, "GET", "/*/x", RouteNotAllowed, ""},
		{"no pattern without a slash", mixed, "GET", "/xy", RouteNotAllowed, ""},
		{"GET not by HEAD", `["HEAD /h"]`, "GET", "/h", RouteNotAllowed, ""},
		{"HEAD by HEAD", `["HEAD /h"]`, "HEAD", "/h", RouteAllowed, "/h"},
		{"lower-case method in a rule", `["get /h"]`, "GET", "/h", RouteNotAllowed, ""},
		{"star for OPTIONS", `["/*"]`, "OPTIONS", "*", PathAmbiguous, ""},
	})
}

// refusedRows are records that allow nothing, and methods that no record allows.
func refusedRows() []routeRow {
	rows := make([]routeRow, 0, 32)
	for _, record := range []string{
		"", `null`, `[]`, `["*"]`, `[""]`, `[null]`, `["/"]`, `["*/"]`, `["GET"]`, `["GET *"]`, `["//*"]`, `["/../*"]`,
	} {
		rows = append(rows, routeRow{"deny by default: " + record, record, "GET", "/api/v1/test", RouteNotAllowed, ""})
	}
	for _, method := range []string{"CONNECT", "TRACE", "FOO", "get", "PROPFIND", "PRI", ""} {
		rows = append(rows, routeRow{"method " + method, `["/*"]`, method, "/", MethodNotAllowed, ""})
	}
	return rows
}

func TestRouteCheck(t *testing.T) {
	for _, row := range routeRows() {
		t.Run(row.name, func(t *testing.T) {
			record := `{"rate_limit":1,"expires_at":"2030-01-01T00:00:00Z"}`
			if row.record != "" {
				record = record[:len(record)-1] + `,"allowed_routes":` + row.record + `}`
			}
			parsed, err := ParseRecord(testKey, []byte(record))
			if err != nil {
				t.Fatal(err)
			}
			target, err := url.ParseRequestURI(row.target)
			if err != nil {
				t.Fatal(err)
			}
			ex := &Exchange{Request: &http.Request{Method: row.method, URL: target}, Record: parsed}
			checkReason(t, RouteCheck{}.Check(t.Context(), ex), row.want)
			if ex.Route != row.route {
				t.Errorf("route %q, want %q", ex.Route, row.route)
			}
			if kept := ex.Path != (Path{}); kept != (row.want == RouteAllowed) {
				t.Errorf("the exchange has the path %+v", ex.Path)
			}
		})
	}
}

// TestRouteSetIsALinearSearch compares the indexed rules with a linear search:
// exact before subtree, long before short, in the order of the record.
func TestRouteSetIsALinearSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	segment := func() string { return []string{"a", "b", "c", "files", ""}[random.IntN(5)] }
	path := func() string {
		parts := make([]string, 1+random.IntN(4))
		for i := range parts {
			parts[i] = segment()
		}
		return "/" + strings.Join(parts, "/")
	}
	methods := []string{"", "", http.MethodGet + " ", http.MethodPost + " "}
	for range 2000 {
		rules := make([]string, random.IntN(12))
		for i := range rules {
			rules[i] = methods[random.IntN(4)] + path() + []string{"", "/*"}[random.IntN(2)]
		}
		set := NewRouteSet(rules)
		for range 20 {
			method, asked := []string{http.MethodGet, http.MethodHead, http.MethodPost}[random.IntN(3)], path()
			got, ok := set.Match(method, asked)
			if want, found := linearMatch(rules, method, asked); got != want || ok != found {
				t.Fatalf("%s %s by %q: %q %t, want %q %t", method, asked, rules, got, ok, want, found)
			}
		}
	}
}

func linearMatch(rules []string, method, path string) (best string, found bool) {
	for _, rule := range rules {
		route, err := ParseRoute(rule)
		if err != nil || route.Method != "" && route.Method != method && (route.Method != http.MethodGet || method != http.MethodHead) {
			continue
		}
		if route.Subtree && !strings.HasPrefix(path, strings.TrimSuffix(route.Path, "*")) || !route.Subtree && route.Path != path {
			continue
		}
		better := !found || !route.Subtree && strings.HasSuffix(best, "/*") ||
			route.Subtree == strings.HasSuffix(best, "/*") && len(route.Path) > len(best)
		if better {
			best, found = route.Path, true
		}
	}
	return best, found
}

// BenchmarkMatch shows that the cost does not depend on the number of rules.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{2, 100, 1000} {
		rules := make([]string, n)
		for i := range rules {
			rules[i] = fmt.Sprintf("/api/v1/route%d", i)
		}
		set := NewRouteSet(rules)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Match(http.MethodGet, rules[n-1])
			}
		})
	}
}

func TestParseRoute(t *testing.T) {
	for _, row := range []struct {
		rule string
		want Route
	}{
		{"/", Route{Path: "/"}},
		{"/api/v1/test", Route{Path: "/api/v1/test"}},
		{"/files/*", Route{Path: "/files/*", Subtree: true}},
		{"/*", Route{Path: "/*", Subtree: true}},
		{"GET /files/*", Route{Method: "GET", Path: "/files/*", Subtree: true}},
		{"/a b", Route{Path: "/a b"}},
		{"DELETE /a b", Route{Method: "DELETE", Path: "/a b"}},
	} {
		if got, err := ParseRoute(row.rule); err != nil || got != row.want {
			t.Errorf("%q: got %+v, %v, want %+v", row.rule, got, err, row.want)
		}
	}
	for _, rule := range []string{
		"", " ", "*", "**", "/**", "/a*", "/a/*/b", "/*/*", "a", "a/*", "GET", "GET ", "GET  /a", " /a", "get /a", "FOO /a", "TRACE /a",
		"CONNECT /a",
		"GET a", "GET *", "//", "/a//b", "/a/../b", "/..", "/./*", "/../*", "//*", `/a\b`, "/a\x00", "/a\nb", "/\xff", "/a/..;/b",
	} {
		if got, err := ParseRoute(rule); err == nil {
			t.Errorf("%q was accepted as %+v", rule, got)
		}
	}
}
