package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

// coldStart reports what becomes of requests that come all at once, each on a
// connection of its own, as soon as a gateway listens.
func (l *lab) coldStart(opts options, doc *report) error {
	repeats := min(3, opts.rounds)
	t := &table{
		title: "Requests at once on a gateway that just started",
		head:  []string{"at once", "not 2xx, most", "not 2xx, middle", "slowest ms"},
		notes: []string{fmt.Sprintf("%d starts for each line.", repeats)},
	}
	for _, n := range []int{100, 300, 1000} {
		var lost []float64
		var slowest time.Duration
		for range repeats {
			s, err := l.startGateway(onePercent())
			if err != nil {
				return err
			}
			bad, took := burst(l.ctx, s.addr, l.tokens.usual.headers, n)
			s.stop()
			lost = append(lost, float64(bad))
			slowest = max(slowest, took)
		}
		t.add(thousands(fmt.Sprint(n)), fmt.Sprintf("%.0f", slices.Max(lost)), fmt.Sprintf("%.0f", spreadOf(lost).median),
			milliseconds(slowest))
	}
	doc.show(t)
	return nil
}

// burst sends n requests at once and returns how many had no 200, and the time
// of the slowest.
func burst(ctx context.Context, addr string, headers []string, n int) (bad int, slowest time.Duration) {
	begin := make(chan struct{})
	type end struct {
		ok   bool
		took time.Duration
	}
	ends := make(chan end, n)
	for i := range n {
		go func() {
			<-begin
			started := time.Now()
			ok := askRaw(ctx, addr, headers[i%len(headers)])
			ends <- end{ok, time.Since(started)}
		}()
	}
	close(begin)
	for range n {
		e := <-ends
		if !e.ok {
			bad++
		}
		slowest = max(slowest, e.took)
	}
	return bad, slowest
}

// askRaw sends one request on a connection of its own and reports whether the
// answer was 200.
func askRaw(ctx context.Context, addr, authorization string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()                    // the answer was read by then
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // without one, a read fails or ends all the same
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", testPath, addr, authorization)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// An answer is one answer to a client while Redis was stopped and resumed.
type answer struct {
	begun, ended time.Time
	ok           bool
}

const (
	clients     = 32
	silentFor   = 2 * time.Second
	knownWithin = 150 * time.Millisecond
	badPause    = 2 * time.Millisecond // of a client, so that refusals do not fill the processors
)

// silentRedis stops Redis' process for a while under load, without closing its
// connections, and reports how long clients waited.
func (l *lab) silentRedis(opts options, doc *report) error {
	gateway, err := l.gatewayFor(l.tokens.usual)
	if err != nil {
		return err
	}
	defer gateway.server.stop()
	t := &table{
		title: fmt.Sprintf("Redis silent for %s under %d clients", silentFor, clients),
		head:  []string{"run", "slowest ms", "slowest after the first 150 ms", "answers meanwhile", "of them 200", "good again after ms"},
	}
	for run := range min(3, opts.rounds) {
		ctx, cancel := context.WithCancel(l.ctx)
		collected := make(chan []answer)
		go func() { collected <- askUntil(ctx, gateway) }()
		time.Sleep(500 * time.Millisecond)
		stopped := time.Now()
		err := l.pauseRedis(silentFor)
		resumed := time.Now()
		time.Sleep(2 * time.Second)
		cancel()
		answers := <-collected
		if err != nil {
			return err
		}
		t.add(append([]string{fmt.Sprint(run + 1)}, judge(answers, stopped, resumed)...)...)
	}
	doc.show(t)
	return nil
}

func (l *lab) pauseRedis(d time.Duration) error {
	if err := syscall.Kill(l.redis.pid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping Redis: %w", err)
	}
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
	if err := syscall.Kill(l.redis.pid(), syscall.SIGCONT); err != nil {
		return fmt.Errorf("resuming Redis: %w", err)
	}
	return l.ctx.Err()
}

// askUntil has the clients ask one request after the other until ctx ends, and
// returns their answers.
func askUntil(ctx context.Context, v *variant) []answer {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	byClient := make([][]answer, clients)
	var all sync.WaitGroup
	for i := range byClient {
		all.Go(func() {
			for ctx.Err() == nil {
				a := askOnce(ctx, client, v, i)
				byClient[i] = append(byClient[i], a)
				if !a.ok {
					time.Sleep(badPause)
				}
			}
		})
	}
	all.Wait()
	return slices.Concat(byClient...)
}

func askOnce(ctx context.Context, client *http.Client, v *variant, i int) answer {
	a := answer{begun: time.Now()}
	// A request that was begun is answered, also after the end of ctx.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "http://"+v.server.addr+v.tokens.path, http.NoBody)
	if err == nil {
		req.Header.Set("Authorization", v.tokens.headers[i%len(v.tokens.headers)])
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // the status is known
			resp.Body.Close()
			a.ok = resp.StatusCode == http.StatusOK
		}
	}
	a.ended = time.Now()
	return a
}

// judge returns the columns of silentRedis after the first.
func judge(answers []answer, stopped, resumed time.Time) []string {
	var slowest, slowestLater, back time.Duration
	var meanwhile, good int
	first := time.Time{}
	for _, a := range answers {
		if a.ended.Before(stopped) {
			continue
		}
		took := a.ended.Sub(a.begun)
		slowest = max(slowest, took)
		if a.begun.After(stopped.Add(knownWithin)) && a.begun.Before(resumed) {
			slowestLater = max(slowestLater, took)
		}
		switch {
		case a.ended.Before(resumed):
			meanwhile++
			if a.ok {
				good++
			}
		case !a.ok:
			back = max(back, a.ended.Sub(resumed))
		case first.IsZero() || a.ended.Before(first):
			first = a.ended
		}
	}
	again := "never"
	if !first.IsZero() {
		again = milliseconds(max(back, first.Sub(resumed)))
	}
	return []string{
		milliseconds(slowest), milliseconds(slowestLater), thousands(fmt.Sprint(meanwhile)), thousands(fmt.Sprint(good)), again,
	}
}
