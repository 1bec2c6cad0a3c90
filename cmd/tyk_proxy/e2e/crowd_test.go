package e2e_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"tyk_proxy/app/config"
	"tyk_proxy/middleware/storetest"
)

// crowd sends requests over many connections, a number of times each or until
// a deadline, and returns the number of answers by status. A connection error
// has status 0.
func (p *program) crowd(jwt string, connections, each int, until time.Time) map[int]int {
	p.tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: askTimeout}
	statuses := make(map[int]int)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for range connections {
		asking.Go(func() {
			for n := 0; n < each || time.Now().Before(until); n++ {
				status, err := askOn(client, p.base+"/api/v1/test", jwt)
				mu.Lock()
				statuses[status]++
				if err != nil && statuses[0] == 1 {
					p.tb.Log(err)
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	return statuses
}

// If Redis works, all of many concurrent requests succeed, both after the
// start and under load.
func TestManyConnections(t *testing.T) {
	crowds := []int{100, 300, 1000}
	if raced() {
		crowds = []int{100}
	}
	redis, backend := storetest.StartRedis(t), echo(t)
	cfg := testConfig(redis.Addr, backend)
	cfg.Redis.Timeout = config.Default().Redis.Timeout
	cfg.Telemetry.Traces.SampleRatio = 0
	for _, connections := range crowds {
		p := start(t, cfg)
		jwt := mintToken(t, cfg, 1_000_000).JWT
		if got := p.crowd(jwt, connections, 1, time.Time{}); got[http.StatusOK] != connections {
			t.Errorf("%d at once, just started: %v", connections, got)
		}
		got := p.crowd(jwt, connections, 1, time.Now().Add(time.Second))
		t.Logf("%d busy connections: %v", connections, got)
		if len(got) != 1 || got[http.StatusOK] == 0 {
			t.Errorf("%d busy connections: %v", connections, got)
		}
	}
}
