package mint_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"

	"tyk_proxy/app/mint"
)

func ExampleNew() {
	redis, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer redis.Close()
	client := mint.NewClient(redis.Addr(), time.Second)
	defer client.Close()

	token, err := mint.New(context.Background(), client, mint.Request{
		Prefix: "token:",
		Secret: "a secret of at least 32 bytes....",
		Limit:  10,
		Routes: []string{"GET /files/*"},
		TTL:    time.Hour,
		Now:    time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	})
	if err != nil {
		panic(err)
	}
	record, err := redis.Get(token.StorageKey)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(strings.Split(token.JWT, ".")), token.ExpiresAt)
	fmt.Println(strings.ReplaceAll(record, token.APIKey, "KEY"))
	fmt.Println(strings.ReplaceAll(token.CurlExample("http://localhost:8080"), token.JWT, "JWT"))
	// Output:
	// 3 2030-01-02 04:04:05 +0000 UTC
	// {"api_key":"KEY","rate_limit":10,"expires_at":"2030-01-02T04:04:05Z","allowed_routes":["GET /files/*"]}
	// curl -i -H 'Authorization: Bearer JWT' 'http://localhost:8080/files/'
}

func ExampleRequest_Check() {
	fmt.Println(mint.Request{Secret: "short", Limit: -1, TTL: time.Hour, Routes: []string{"/files/*"}}.Check())
	// Output:
	// secret has 5 bytes: HS256 needs at least 32 (make secret prints one)
	// limit is -1: use 0 or more requests per window
}
