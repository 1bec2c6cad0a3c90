package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tyk_proxy/middleware"
)

// defaultWindow is the gateway's default, for answers without a window.
const defaultWindow = time.Minute

// windowOf parses w, in seconds, from `RateLimit-Policy: "default";q=20;w=60`.
// It returns 0 if there is none.
func windowOf(h http.Header) time.Duration {
	for part := range strings.SplitSeq(h.Get("RateLimit-Policy"), ";") {
		text, found := strings.CutPrefix(strings.TrimSpace(part), "w=")
		if seconds, err := strconv.ParseInt(text, 10, 32); found && err == nil && seconds > 0 {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// checkLimit checks that the gateway forwarded no more than the limit and
// refused the rest. A single answer cannot show this, because both are
// expected.
func (t *tally) checkLimit() error {
	window := t.window
	if window == 0 {
		window = defaultWindow
	}
	// The first and the last window count in part. One more allows for a
	// change of Redis's clock, which decides.
	windows := int((t.took+window-1)/window) + 1
	most := limitedRate * (windows + 1)
	for _, r := range t.results {
		if r.Kind != limitedKind {
			continue
		}
		// A short run sends fewer requests than the limit, so it needs no 429.
		limit := fmt.Sprintf("in at most %d windows of %s, with a limit of %d", windows, window, limitedRate)
		forwarded := r.Reasons[middleware.Forwarded.String()]
		switch {
		case forwarded > most:
			return fmt.Errorf("%s: %d were forwarded %s", r.Kind, forwarded, limit)
		case r.Sent > most && r.Statuses[http.StatusTooManyRequests] == 0:
			return fmt.Errorf("%s: no 429 to %d requests %s", r.Kind, r.Sent, limit)
		}
	}
	return nil
}
