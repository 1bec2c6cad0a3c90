package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/storetest"
)

// hoursStage refuses requests outside the hours from 8 to 18. A stage decides and
// returns one reason of the table; the pipeline answers the client.
type hoursStage struct{ now func() time.Time }

func (hoursStage) Name() string { return "hours" }

func (s hoursStage) Check(context.Context, *middleware.Exchange) middleware.Outcome {
	if hour := s.now().Hour(); hour < 8 || hour >= 18 {
		return middleware.Outcome{Reason: middleware.RouteNotAllowed}
	}
	return middleware.Outcome{Reason: middleware.RouteAllowed}
}

func ExampleStage() {
	for _, hour := range []int{9, 20} {
		stage := hoursStage{func() time.Time { return time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC) }}
		outcome := stage.Check(context.Background(), &middleware.Exchange{})
		fmt.Println(hour, outcome.Reason, outcome.Verdict(), outcome.Proceeds())
	}
	// Output:
	// 9 route_allowed allow true
	// 20 route_not_allowed deny false
}

// printer is an observer that prints what it learns.
type printer struct{}

func (printer) StageStarted(ctx context.Context, _ *middleware.Exchange, _ string) context.Context {
	return ctx
}

func (printer) StageEnded(_ context.Context, _ *middleware.Exchange, step middleware.Step) {
	fmt.Println(step.Stage, step.Outcome.Reason)
}

func (printer) RequestEnded(_ context.Context, _ *middleware.Exchange, result middleware.Result) {
	fmt.Println("result:", result.Status, result.Outcome.Reason)
}

// greeter is a forwarder that answers without an upstream.
type greeter struct{}

func (greeter) Name() string { return middleware.StageProxy }

func (greeter) Forward(_ context.Context, w http.ResponseWriter, _ *middleware.Exchange) middleware.Outcome {
	_, _ = io.WriteString(w, "hello")
	return middleware.Outcome{Reason: middleware.Forwarded}
}

func ExampleObserver() {
	pipeline := middleware.NewPipeline(middleware.PipelineConfig{
		Stages:    []middleware.Stage{hoursStage{func() time.Time { return time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC) }}},
		Forwarder: greeter{},
		Observer:  printer{},
	})
	w := httptest.NewRecorder()
	pipeline.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	fmt.Println("body:", w.Body)
	// Output:
	// hours route_allowed
	// proxy forwarded
	// result: 200 forwarded
	// body: hello
}

func ExamplePipeline() {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "upstream got ", r.URL.Path)
	}))
	defer upstream.Close()
	address, err := url.Parse(upstream.URL)
	if err != nil {
		panic(err)
	}

	secret, expires := []byte("a secret of at least 32 bytes...."), time.Now().Add(time.Hour)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"api_key": "key-1", "exp": expires.Unix()}).SignedString(secret)
	if err != nil {
		panic(err)
	}
	store := storetest.NewFake(time.Hour, nil)
	store.Put("key-1", storetest.Record("key-1", 1, expires, "GET /files/*"), 0)

	gateway := httptest.NewServer(middleware.NewPipeline(middleware.PipelineConfig{
		Stages: []middleware.Stage{
			middleware.NewAuth(middleware.AuthConfig{Algorithm: "HS256", Key: secret}),
			middleware.NewTokenLookup(store, nil),
			middleware.RouteCheck{},
			middleware.NewRateLimit(middleware.RateLimitConfig{Counter: store}),
		},
		Forwarder: middleware.NewProxy(middleware.ProxyConfig{Upstream: address, Transport: http.DefaultTransport}),
		Observer:  printer{},
	}))
	defer gateway.Close()
	request, err := http.NewRequest(http.MethodGet, gateway.URL+"/files/a", http.NoBody)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	gateway.Close() // waits for the observer
	fmt.Println(response.Status, response.Header.Get("X-Ratelimit-Remaining"), string(body))
	// Output:
	// auth authenticated
	// token_lookup token_found
	// route_check route_allowed
	// rate_limit within_limit
	// proxy forwarded
	// result: 200 forwarded
	// 200 OK 0 upstream got /files/a
}

func ExampleParseRoute() {
	for _, rule := range []string{"/api/v1/test", "GET /files/*", "files", "/files/../*"} {
		route, err := middleware.ParseRoute(rule)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("method %q, path %q, subtree %t\n", route.Method, route.Path, route.Subtree)
	}
	// Output:
	// method "", path "/api/v1/test", subtree false
	// method "GET", path "/files/*", subtree true
	// route "files" is not an absolute path such as /api/v1/test, /files/* or GET /files/*
	// route "/files/../*" is not an absolute path such as /api/v1/test, /files/* or GET /files/*
}

func ExampleRouteSet_Match() {
	routes := middleware.NewRouteSet([]string{"/files/*", "/files/a", "POST /form"})
	for _, request := range [][2]string{{"GET", "/files/a"}, {"GET", "/files/b"}, {"GET", "/form"}} {
		rule, ok := routes.Match(request[0], request[1])
		fmt.Println(request[1], ok, rule)
	}
	// Output:
	// /files/a true /files/a
	// /files/b true /files/*
	// /form false
}

func ExampleCanonicalPath() {
	for _, target := range []string{"/caf%c3%a9/%7Euser", "/files/%2e%2e/admin", "/files%2fa", "//admin"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			panic(err)
		}
		path, err := middleware.CanonicalPath(u)
		if err != nil {
			fmt.Println(target, err)
			continue
		}
		fmt.Println(target, path.Decoded, path.Escaped)
	}
	// Output:
	// /caf%c3%a9/%7Euser /café/~user /caf%C3%A9/~user
	// /files/%2e%2e/admin path can be read in more than one way
	// /files%2fa path can be read in more than one way
	// //admin path can be read in more than one way
}

func ExampleParseRecord() {
	text, err := middleware.RecordFields{
		APIKey: "key-1", RateLimit: 10, ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), AllowedRoutes: []string{"/files/*"},
	}.Text()
	if err != nil {
		panic(err)
	}
	fmt.Println(text)
	record, err := middleware.ParseRecord("key-1", []byte(text))
	if err != nil {
		panic(err)
	}
	fmt.Println(record.RateLimit, record.ExpiresAt)
	_, err = middleware.ParseRecord("key-1", []byte(`{"rate_limit":"many"}`))
	fmt.Println(err)
	// Output:
	// {"api_key":"key-1","rate_limit":10,"expires_at":"2030-01-02T03:04:05Z","allowed_routes":["/files/*"]}
	// 10 2030-01-02 03:04:05 +0000 UTC
	// token record invalid: rate_limit is not a whole number of at least 0
}
