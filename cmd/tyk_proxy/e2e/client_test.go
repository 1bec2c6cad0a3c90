package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/app/config"
	"tyk_proxy/app/mint"
	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
)

// askTimeout is far longer than every timeout of the gateway. A request that
// exceeds it hangs.
const askTimeout = 30 * time.Second

// answer is a response with its whole body.
type answer struct {
	status int
	header http.Header
	body   string
	close  bool // the gateway asked to close the connection
	took   time.Duration
}

func (p *program) get(path, jwt string) answer {
	p.tb.Helper()
	return p.ask(http.MethodGet, path, jwt)
}

func (p *program) ask(method, path, jwt string) answer {
	p.tb.Helper()
	return askURL(p.tb, method, p.base+path, jwt)
}

// dialURL opens a connection until the end of the test, for requests that
// http.Client cannot send.
func dialURL(tb testing.TB, url string) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(askTimeout))
	return conn
}

// askURL uses a new connection, so that requests do not depend on each other.
func askURL(tb testing.TB, method, url, jwt string) answer {
	tb.Helper()
	got, err := tryURL(method, url, jwt)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func tryURL(method, url, jwt string) (answer, error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if jwt != "" {
		request.Header.Set("Authorization", "Bearer "+jwt)
	}
	begun := time.Now()
	response, err := (&http.Client{Transport: transport, Timeout: askTimeout}).Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{
		status: response.StatusCode, header: response.Header, body: string(body), close: response.Close, took: time.Since(begun),
	}, err
}

// reason returns the reason of a problem document, or "" for any other answer.
func (a answer) reason() string {
	var problem middleware.Problem
	if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(a.body), &problem) != nil {
		return ""
	}
	return problem.Reason
}

func (a answer) want(tb testing.TB, status int, reason string) {
	tb.Helper()
	if a.status != status || a.reason() != reason {
		tb.Errorf("answered %d %q, want %d %q", a.status, a.reason(), status, reason)
	}
}

// mint makes a token for the configured gateway.
func mintToken(tb testing.TB, cfg config.Config, limit int64) mint.Token {
	tb.Helper()
	minted, err := mint.New(context.Background(), redisClient(tb, cfg), mint.Request{
		Prefix: redisstore.RecordPrefix,
		Secret: string(cfg.Application.Token.JWTSecret),
		Limit:  limit,
		Routes: mint.DefaultRoutes(),
		TTL:    time.Hour,
		Now:    time.Now(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return minted
}

func redisClient(tb testing.TB, cfg config.Config) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: cfg.Redis.Addr})
	tb.Cleanup(func() { _ = client.Close() }) // nothing was buffered
	return client
}
