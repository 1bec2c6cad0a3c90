package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

func BenchmarkCount(b *testing.B) {
	server := storetest.StartRedis(b)
	o := options(server.Addr, patience)
	counter := redisstore.NewCounter(newClient(b, o), time.Minute, nil)
	b.ReportAllocs()
	b.SetParallelism(16) // requests mostly wait for Redis
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
	if err := newAdmin(b, server.Addr).Set(b.Context(), redisstore.RecordPrefix+apiKey, record, time.Hour).Err(); err != nil {
		b.Fatal("storing the record failed")
	}
	records := redisstore.NewRecords(client)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := records.Lookup(b.Context(), apiKey); err != nil {
				storetest.CheckError(b, err, nil, apiKey)
			}
		}
	})
}

// BenchmarkDuplex compares the two modes in which go-redis can share a connection;
// see NewClient.
func BenchmarkDuplex(b *testing.B) {
	server := storetest.StartRedis(b)
	for _, full := range []bool{false, true} {
		b.Run(map[bool]string{false: "half", true: "full"}[full], func(b *testing.B) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2})
			defer client.Close()
			pipe, err := client.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: full})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					cmd := redis.NewStringCmd(b.Context(), "getrange", "token:a", 0, 100)
					if err := pipe.Submit(b.Context(), cmd).WaitContext(b.Context()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkFromMemory measures a lookup and a refusal that do not use Redis.
func BenchmarkFromMemory(b *testing.B) {
	server := storetest.StartRedis(b)
	o := options(server.Addr, patience)
	o.ClientSideCache = true
	client := newClient(b, o)
	if err := client.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	record := storetest.Record(apiKey, 10, time.Now().Add(time.Hour), "/api/v1/test", "/api/v1/test2")
	if err := newAdmin(b, server.Addr).Set(b.Context(), redisstore.RecordPrefix+apiKey, record, time.Hour).Err(); err != nil {
		b.Fatal(err)
	}
	b.Run("record", func(b *testing.B) {
		records := redisstore.NewRecords(client)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := records.Lookup(b.Context(), apiKey); err != nil {
				storetest.CheckError(b, err, nil, apiKey)
			}
		}
	})
	b.Run("refusal", func(b *testing.B) {
		counter := redisstore.NewCounter(client, time.Hour, nil)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := counter.Count(b.Context(), apiKey, 1); err != nil {
				storetest.CheckError(b, err, nil, apiKey)
			}
		}
	})
}
