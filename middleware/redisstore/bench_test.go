package redisstore_test

import (
	"testing"
	"time"

	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

func BenchmarkCount(b *testing.B) {
	server := storetest.StartRedis(b)
	o := options(server.Addr, patience)
	counter := redisstore.NewCounter(newClient(b, o), time.Minute, nil)
	b.ReportAllocs()
	b.SetParallelism(16) // requests wait for Redis more than for a processor
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := counter.Count(b.Context(), apiKey, unlimited); err != nil {
				storetest.CheckError(b, err, nil, apiKey)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	server := storetest.StartRedis(b)
	o := options(server.Addr, patience)
	client := newClient(b, o)
	record := storetest.Record(apiKey, 10, time.Now().Add(time.Hour), "/api/v1/test", "/api/v1/test2")
	if err := newAdmin(b, server.Addr).Set(b.Context(), redisstore.TokenPrefix+apiKey, record, time.Hour).Err(); err != nil {
		b.Fatal("storing the record failed")
	}
	tokens := redisstore.NewTokens(client)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := tokens.Lookup(b.Context(), apiKey); err != nil {
				storetest.CheckError(b, err, nil, apiKey)
			}
		}
	})
}
