package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/storetest"
)

// trackingFault forwards to Redis. Connections that switched tracking on can be
// cut when they are used, or lose their replies; all others are well.
type trackingFault struct {
	addr    string
	cut     atomic.Bool
	swallow atomic.Bool
}

func startTrackingFault(t *testing.T, target string) *trackingFault {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	f := &trackingFault{addr: listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			var tracked atomic.Bool
			go pass(client, server, true, func(sent []byte) bool {
				if bytes.Contains(bytes.ToLower(sent), []byte("tracking")) {
					tracked.Store(true)
					return true
				}
				return !tracked.Load() || !f.cut.Load()
			})
			go pass(server, client, false, func([]byte) bool { return !tracked.Load() || !f.swallow.Load() })
		}
	}()
	return f
}

// pass copies from one connection to the other. What is not allowed is lost, or
// ends both if cut is set.
func pass(from, to net.Conn, cut bool, allowed func([]byte) bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if !allowed(buffer[:n]) {
			if cut {
				return
			}
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// everyTraced is an instrument of a gateway that samples all requests.
type everyTraced struct{}

func (everyTraced) Traced(context.Context) bool                                      { return true }
func (everyTraced) Command(context.Context, string, time.Time, time.Duration, error) {}

// Connections that read records into memory may break or lose a reply, while
// Redis and the shared connection are well: no lookup fails and no silence
// begins, whether requests are sampled or not.
func TestTrackingConnectionsThatFail(t *testing.T) {
	server := storetest.StartRedis(t)
	for _, fault := range []string{"cut", "swallow"} {
		for _, traced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, traced %t", fault, traced), func(t *testing.T) {
				proxy := startTrackingFault(t, server.Addr)
				o := options(proxy.addr, budget)
				o.ClientSideCache = true
				var silences atomic.Int64
				o.Changed = func(error) { silences.Add(1) }
				p := newPorts(t, o)
				if traced {
					p.client.SetInstrument(everyTraced{})
				}
				if err := p.client.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
				proxy.cut.Store(fault == "cut")
				proxy.swallow.Store(fault == "swallow")
				for i := range 5 {
					time.Sleep(budget + budget/2) // the shared connection has heard nothing for longer than the timeout
					if _, err := p.records.Lookup(t.Context(), fmt.Sprint("key", i)); !errors.Is(err, middleware.ErrTokenUnknown) {
						t.Errorf("lookup %d: %v", i, err)
					}
				}
				if n := silences.Load(); n > 0 {
					t.Errorf("%d changes of silence, want none", n)
				}
			})
		}
	}
}
