package storetest_test

import (
	"testing"
	"time"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/storetest"
)

// TestTally: what proves a limiter exact must see when it is not.
func TestTally(t *testing.T) {
	for name, c := range map[string]struct {
		counts []int64
		total  int
		exact  bool
	}{
		"exact":       {[]int64{2, 1, 3}, 3, true},
		"twice":       {[]int64{1, 2, 2}, 3, false},
		"with a gap":  {[]int64{1, 3}, 2, false},
		"from zero":   {[]int64{0, 1}, 2, false},
		"too few":     {[]int64{1, 2}, 3, false},
		"none at all": {nil, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			var tally storetest.Tally
			for _, count := range c.counts {
				tally.Add(middleware.Quota{Used: count, ResetAt: time.Unix(60, 0)})
			}
			if err := tally.Check(c.total); (err == nil) != c.exact {
				t.Errorf("Check returned %v", err)
			}
		})
	}
}
