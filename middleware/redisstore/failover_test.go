package redisstore_test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware/storetest"
)

// startSwitch forwards each new connection to the address that it holds then, as
// a service's name does after a failover.
func startSwitch(t *testing.T, target string) (addr string, to *atomic.Pointer[string]) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	to = &atomic.Pointer[string]{}
	to.Store(&target)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", *to.Load())
			if err != nil {
				_ = client.Close()
				continue
			}
			go forward(client, server)
			go forward(server, client)
		}
	}()
	return listener.Addr().String(), to
}

func forward(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = from.Close(), to.Close()
}

// After a failover the connection to the old master answers READONLY. The
// commands did not run, and are sent to the new master.
func TestFailoverLosesNoRequest(t *testing.T) {
	old, fresh := storetest.StartRedis(t), storetest.StartRedis(t)
	addr, to := startSwitch(t, old.Addr)
	p := newPorts(t, options(addr, budget))
	p.warm(t)
	if n := concurrently(t, 20, p.count(t.Context())); n != 0 {
		t.Fatalf("%d of 20 requests failed before the failover", n)
	}
	to.Store(&fresh.Addr)
	host, port, err := net.SplitHostPort(fresh.Addr)
	if err != nil {
		t.Fatal(err)
	}
	admin := newAdmin(t, old.Addr)
	if err := admin.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	awaitReplica(t, admin)
	for range 20 {
		if n := concurrently(t, 1, p.count(t.Context())); n != 0 {
			t.Error("a request failed after the failover")
		}
	}
	if n := concurrently(t, 20, p.count(t.Context())); n != 0 {
		t.Errorf("%d of 20 requests failed after the failover", n)
	}
}

// awaitReplica waits until the server is a replica with its master's data.
func awaitReplica(t *testing.T, admin *redis.Client) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		info, err := admin.Info(t.Context(), "replication").Result()
		if err == nil && strings.Contains(info, "master_link_status:up") {
			return
		}
	}
	t.Fatal("the server did not become a replica")
}

// A Redis that refuses connections says why before it closes them. That is what
// a lookup's error, Available and Probe say.
func TestRefusedConnection(t *testing.T) {
	for said, want := range map[string]string{
		"-DENIED Redis is running in protected mode because protected mode is enabled.\r\n": "protected mode",
		"-ERR max number of clients reached\r\n":                                            "max number of clients reached",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, said)
				_ = conn.Close()
			}
		}()
		p := newPorts(t, options(listener.Addr().String(), budget))
		_ = p.client.Open(t.Context())
		_, lookupErr := p.use(t.Context())
		for name, err := range map[string]error{"lookup": lookupErr, "probe": p.client.Probe(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
}
