package middleware

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// The indexed rules decide as reading them one by one does: exact before
// subtree, long before short, in the order of the record among equals.
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

// The number of rules is not what a request pays for.
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
